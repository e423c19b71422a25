"""Events for functions that others register: emitting one costs nothing while there are none.

Listeners are called in a thread of their own. One that blocks delays the other listeners and
nothing else, and what one raises is logged, once a kind.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from aiostreamq.aio.wakeup import wait_for_event
from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.untrusted import name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

E = TypeVar("E")

logger = get_logger("aiostreamq.telemetry")

# Events that wait for slow listeners. More are dropped, so that they cannot fill the memory.
MOST_WAITING = 10_000

# Characters of a listener's name in a log line.
LONGEST_NAME = 200


class EventSink(Protocol[E]):
    """Takes events, and has functions called with them."""

    def put(self, functions: tuple[Callable[[E], object], ...], event: E) -> None:
        """Have *functions* called with *event*."""
        ...

    async def flush(self, seconds: float) -> None:
        """Wait until all events so far were handed out, or for some *seconds*."""
        ...


class Listeners(Generic[E]):
    """Hands events to functions. All methods but `flush` may be called from any thread.

    Check `is_heard` before making an event.
    """

    def __init__(
        self,
        parent: "Listeners[E] | None" = None,
        functions: "Iterable[Callable[[E], object]]" = (),
    ) -> None:
        """Begin with some functions.

        Args:
            parent: Its functions get the events too, also those added to it later.
            functions: Called with each event.

        Raises:
            UsageError: One of them cannot be called, or is a coroutine function.
        """
        self.is_heard = False  #: whether there is any function
        self.functions: tuple[Callable[[E], object], ...] = ()  #: the parent's, and its own
        self.children = WeakSet[Listeners[E]]()
        self.thread: EventSink[E] = _ListenerThread[E]() if parent is None else parent.thread
        self._parent = parent
        self._own = [checked_listener(function) for function in functions]
        if parent is not None:
            parent.children.add(self)
        self.refresh()

    def add(self, function: Callable[[E], object]) -> None:
        """Call a function with each event from now on.

        Raises:
            UsageError: It cannot be called, or is a coroutine function.
        """
        self._own.append(checked_listener(function))
        self.refresh()

    def remove(self, function: Callable[[E], object]) -> None:
        """Stop calling a function that was added."""
        self._own.remove(function)
        self.refresh()

    def leave(self) -> None:
        """Take no notice any more of what is added to the parent or removed there.

        For the owner of some that are used up: else the parent keeps more and more of them until
        their garbage is collected.
        """
        if self._parent is not None:
            self._parent.children.discard(self)

    def emit(self, event: E) -> None:
        """Hand an event to all functions; waits for none of them."""
        self.thread.put(self.functions, event)

    async def flush(self, seconds: float) -> None:
        """Wait until the functions have received all events so far, at most *seconds*."""
        await self.thread.flush(seconds)

    def refresh(self) -> None:
        """Take over what was added to the parent, and have the children do so."""
        inherited = () if self._parent is None else self._parent.functions
        self.functions = (*inherited, *self._own)
        self.is_heard = bool(self.functions)
        for child in list(self.children):
            child.refresh()


class _ListenerThread(Generic[E]):
    """Calls listeners one after the other, in a thread that starts with the first event."""

    def __init__(self) -> None:
        self._events = SimpleQueue[tuple[tuple[Callable[[E], object], ...], E]]()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._dropped = 0
        self._logged: set[tuple[int, type]] = set()  # listeners, and what they have raised

    def put(self, functions: tuple[Callable[[E], object], ...], event: E) -> None:
        """Take an event, or drop it if too many wait."""
        if self._events.qsize() >= MOST_WAITING:
            self._drop()
            return
        self._events.put((functions, event))
        if self._thread is None or not self._thread.is_alive():  # not even after a fork
            self._start()

    def _drop(self) -> None:
        self._dropped += 1
        if self._dropped == 1:
            logger.warning(
                "listeners are too slow: %d events wait for them, and more are dropped until "
                "they have caught up",
                MOST_WAITING,
            )

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(
                    target=self._run, name="aiostreamq:listeners", daemon=True
                )
                with suppress(RuntimeError):  # there can be no more threads now: events wait
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while True:
            functions, event = self._events.get()
            for function in functions:
                try:
                    _refuse_coroutine(function(event))
                except BaseException as error:  # noqa: BLE001  # the other listeners must still run
                    self._log_once(function, error)
            if self._dropped and self._events.empty():
                logger.warning("%d events were dropped: listeners were too slow", self._dropped)
                self._dropped = 0

    def _log_once(self, function: Callable[[E], object], error: BaseException) -> None:
        kind = id(function), type(error)
        if kind not in self._logged:
            self._logged.add(kind)
            logger.error(
                "a listener raised, which is not logged again for %s: %s",
                name_of(type(error)),
                text_of(function, LONGEST_NAME),
                exc_info=error,
            )

    async def flush(self, seconds: float) -> None:
        """Wait until all events so far were handed out, or for some *seconds*."""
        if self._thread is None or not self._thread.is_alive():
            return
        loop, flushed = asyncio.get_running_loop(), asyncio.Event()

        def report(_: E) -> None:
            with suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(flushed.set)

        self._events.put(((report,), cast("E", None)))
        await wait_for_event(flushed, seconds)


def checked_listener(function: Callable[[E], object]) -> Callable[[E], object]:
    """Return *function*.

    Raises:
        UsageError: It cannot be called, or is a coroutine function.
    """
    found: object = function
    if not callable(found):
        raise UsageError(f"a listener is a function that takes an event, not {found!r}")
    if any(map(_is_async, (found, getattr(found, "__call__", None)))):  # noqa: B004  # its own, if it is an object
        raise UsageError(
            f"listener {found!r} is async: use a `def`, which is called in a thread; it can hand "
            f"the event to a loop with loop.call_soon_threadsafe"
        )
    return function


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _refuse_coroutine(returned: object) -> None:
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError("it returned a coroutine, which is not awaited: use a `def`")
