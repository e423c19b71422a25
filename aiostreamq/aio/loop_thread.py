"""Calls from threads into an event loop, and the loop in the background that is there for them.

A call costs one callback in the loop and one lock, no future of `concurrent.futures` and, if the
loop needs none, no task. The waiting thread looks now and then whether the loop still runs, so that
a loop that ended without notice leaves no thread behind.
"""

import asyncio
import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from aiostreamq.errors import QueueUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Seconds after which a waiting thread looks whether the loop still runs.
LOOK = 1.0

# Seconds that closing may take at the end of the program: as long as enqueues retry by default.
EXIT_TIMEOUT = 10.0


class Closable(Protocol):
    """Something that is closed in the loop before the program ends."""

    async def close_for_all(self) -> None:
        """Finish what was begun, and close."""
        ...


class _Call(Generic[T]):
    """One call of a thread into a loop."""

    __slots__ = ("_end", "_loop", "_start", "error", "future", "value")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, start: "Callable[[], asyncio.Future[T]]"
    ) -> None:
        self._loop = loop
        self._start = start
        self._end = threading.Lock()
        self._end.acquire()
        self.future: asyncio.Future[T] | None = None
        self.value: T | None = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Start it, in the loop."""
        try:
            self.future = future = self._start()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the thread gets it
            self.error = error
            self._end.release()
        else:
            if future.done():
                self._finish(future)
            else:
                future.add_done_callback(self._finish)

    def _finish(self, future: "asyncio.Future[T]") -> None:
        if future.cancelled():
            self.error = QueueUnavailable("the event loop of the queue ended during the call")
        else:
            self.error = future.exception()
            if self.error is None:
                self.value = future.result()
        self._end.release()

    def wait(self) -> T:
        """Wait for its end, in the thread; return its result, or raise its error."""
        try:
            while not self._end.acquire(timeout=LOOK):
                if not self._loop.is_running() and not self._end.acquire(timeout=LOOK):
                    raise QueueUnavailable("the event loop of the queue ended during the call")
        except BaseException:  # such as KeyboardInterrupt
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._cancel)
            raise
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # or it would refer to itself by its traceback
        return cast("T", self.value)

    def _cancel(self) -> None:
        if self.future is not None:
            self.future.cancel()


def call_in(loop: asyncio.AbstractEventLoop, start: "Callable[[], asyncio.Future[T]]") -> T:
    """Call *start* in *loop*, which runs in another thread; wait for the future that it returns.

    *start* sees the context variables of the caller.

    Raises:
        QueueUnavailable: The loop ends, or has ended.
        BaseException: Any of *start* or of its future.

    A KeyboardInterrupt cancels the future.
    """
    call = _Call(loop, start)
    try:
        loop.call_soon_threadsafe(call.begin)
    except RuntimeError:
        raise QueueUnavailable("the event loop of the queue has ended") from None
    return call.wait()


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        """Start the thread.

        Raises:
            UsageError: There are no threads: gevent or eventlet have replaced them.
            QueueUnavailable: No thread can be started, because the program ends.
        """
        _refuse_green_threads()
        self.closables = WeakSet[Closable]()  #: are closed at the end of the program
        self.loop = asyncio.new_event_loop()
        self._is_ending = False
        #: whether it takes calls. Not asked of the thread: if a signal handler raises during that,
        #: Python 3.11 takes the thread for ended
        self.is_alive = True
        thread = threading.Thread(target=self._run, name="aiostreamq:sync", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise QueueUnavailable(f"cannot start the thread of queue.sync: {error}") from error
        self._thread = thread

    def _run(self) -> None:
        try:
            asyncio.set_event_loop(self.loop)
            while not (self._is_ending or self.loop.is_closed()):
                # A SystemExit or KeyboardInterrupt of a callback ends the loop. It belongs to the
                # call.
                with suppress(BaseException):
                    self.loop.run_forever()
        finally:
            self.is_alive = False

    def close(self) -> None:
        """Close all `closables`, then end the thread. At most EXIT_TIMEOUT seconds."""
        with suppress(Exception):
            call_in(self.loop, lambda: self.loop.create_task(self._close_all()))
        self.stop()
        self._thread.join(LOOK)

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._is_ending, self.is_alive = True, False
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)

    async def _close_all(self) -> None:
        closing = [closable.close_for_all() for closable in list(self.closables)]
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_TIMEOUT):
                await asyncio.gather(*closing, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


class _Background:
    """The loop thread of this process."""

    def __init__(self) -> None:
        # Reentrant: a signal handler, or a finalizer that the garbage collector calls, may use
        # queue.sync while the thread that it interrupts starts the loop.
        self._starting = threading.RLock()
        self._thread: LoopThread | None = None
        self._is_ending = False
        # Those of the processes that this one was forked from. They are kept for ever: if they were
        # collected, asyncio would close what both processes share.
        self._inherited: list[Any] = []

    def get(self) -> LoopThread:
        """Return the loop thread, and start it if there is none.

        Raises:
            As `LoopThread`.
        """
        thread = self._thread
        if thread is None or not thread.is_alive:
            if self._is_ending:
                raise QueueUnavailable("the program is ending, and queue.sync is closed")
            with self._starting:
                thread = self._thread
                if thread is None or not thread.is_alive:
                    thread = self._start()
        return thread

    def _start(self) -> LoopThread:
        made, first = LoopThread(), self._thread
        if first is not None and first.is_alive:  # that of a signal handler
            made.stop()
            return first
        self._thread = made
        return made

    def close(self) -> None:
        """Close what it has, at the end of the program."""
        # From now on no other thread is started: its sessions would be open in this one as well.
        self._is_ending = True
        if self._thread is not None:
            self._thread.close()

    def after_fork(self) -> None:
        """Forget the thread of the parent, in a child."""
        self._inherited.append((self._thread, self._starting))
        self._thread, self._starting = None, threading.RLock()
        self._is_ending = False


BACKGROUND = _Background()
os.register_at_fork(after_in_child=BACKGROUND.after_fork)
atexit.register(BACKGROUND.close)


def _refuse_green_threads() -> None:
    """Raise UsageError if threads are not real ones.

    The loop would then run in the same thread as all else, and block it.
    """
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and any(map(gevent.is_module_patched, ("threading", "socket"))):
        library = "gevent"
    else:
        eventlet: Any = sys.modules.get("eventlet.patcher")
        if eventlet is None or not any(map(eventlet.is_monkey_patched, ("thread", "socket"))):
            return
        library = "eventlet"
    raise UsageError(
        f"queue.sync needs the threads and sockets of Python, and {library} has replaced them: use "
        f"threads instead of green ones (with gunicorn: --worker-class gthread), or enqueue from "
        f"another process"
    )
