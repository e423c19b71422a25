"""The lifetime of the workers of a queue in one process, and the lifespans that are open in it."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from aiostreamq import clock
from aiostreamq.aio.held_context import HeldContext
from aiostreamq.errors import LifespanFailed, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.untrusted import name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiostreamq.model.functions.lifespan import Lifespan

T = TypeVar("T")

logger = get_logger("aiostreamq.worker")

# Seconds that all contexts together may take to end. A context that takes longer is cancelled.
LEAVE_TIME = 10.0

# The most characters of an exception's text in a message of ours.
LONGEST_TEXT = 500


class WorkerScope:
    """The open contexts of one process and event loop, in the order in which they were entered."""

    def __init__(self, queue: str, lost: "Callable[[], None]") -> None:
        """Make one that holds nothing yet.

        Args:
            queue: The name of the queue, for messages.
            lost: Called when a context ends although it was not asked to.
        """
        self.states: dict[Lifespan[object], object] = {}  #: the values of the open lifespans
        self.failure: LifespanFailed | None = None  #: the context that ended by itself
        self._queue = queue
        self._lost = lost
        self._held: list[tuple[str, HeldContext[Any]]] = []

    @property
    def state(self) -> object:
        """The value for `Context.state`: of the lifespan that has one."""
        found = {each.name: value for each, value in self.states.items() if value is not None}
        if len(found) > 1:
            return ManyStates(tuple(found))
        return next(iter(found.values()), None)

    async def open(self, lifespans: "Iterable[tuple[Lifespan[object], Lifespan[object]]]") -> None:
        """Enter lifespans in their order; each comes with the one to enter in its place.

        Raises:
            LifespanFailed: One of them raised. Those before it are still open.

        Cancelling cancels the one that is being entered.
        """
        for lifespan, entered in lifespans:
            what = f"lifespan {entered.name!r}"
            try:
                self.states[lifespan] = await self.hold(what, entered())
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
                raise self._failed(what, "was cancelled by its own code") from None
            except BaseException as error:  # whatever the user's code raises
                raise self._failed(what, _shown(error)) from error

    async def hold(self, what: str, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context, which is then open until `aclose`, and return its value.

        Args:
            what: Its kind and name, for messages.
            manager: The context manager.

        Raises:
            BaseException: Any exception that entering raises.
        """
        held = HeldContext(manager, f"aiostreamq:{what}")
        value = await held.enter()
        self._held.append((what, held))
        assert held.task is not None
        held.task.add_done_callback(lambda _: self._on_end(what, held))
        return value

    async def aclose(self, patience: float = LEAVE_TIME) -> None:
        """Leave all contexts, the latest first. Their exceptions are logged.

        Args:
            patience: Seconds that they may take together.

        Cancelling cancels those that are still open.
        """
        until = clock.monotonic() + patience
        try:
            while self._held:
                what, held = self._held[-1]
                has_ended = await held.leave(max(0.0, until - clock.monotonic()))
                self._held.pop()
                self._log_end(what, held, patience, has_ended=has_ended)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cancel all contexts, and wait for nothing."""
        while self._held:
            self._held.pop()[1].abort()

    def _on_end(self, what: str, held: HeldContext[Any]) -> None:
        if held.is_ending or self.failure is not None:
            return
        why = "ended by itself" if held.failure is None else _shown(held.failure)
        self.failure = LifespanFailed(
            f"{what} of queue {self._queue!r} ended while the worker was running ({why}): the "
            f"worker stops, because its jobs need what the lifespan holds"
        )
        self.failure.__cause__ = held.failure
        logger.critical("%s", self.failure)
        self._lost()

    def _log_end(
        self, what: str, held: HeldContext[Any], patience: float, *, has_ended: bool
    ) -> None:
        if not has_ended:
            logger.error("%s did not end within %g s and is abandoned", what, patience)
        elif isinstance(held.failure, asyncio.CancelledError):
            logger.error("%s did not end within %g s and was cancelled", what, patience)
        elif held.failure is not None and self.failure is None:
            logger.error("%s failed at its end", what, exc_info=held.failure)

    def _failed(self, what: str, why: str) -> LifespanFailed:
        return LifespanFailed(
            f"{what} of queue {self._queue!r} failed at its start ({why}): the worker does not "
            f"start"
        )


class ManyStates:
    """Stands for the state if several lifespans have one, and says how to reach each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError(
            f"Context.state is ambiguous: the lifespans {', '.join(self._names)} all yield a "
            f"state: take each with Depends(lifespan)"
        )


def _shown(error: BaseException) -> str:
    text = text_of(error, LONGEST_TEXT)
    return f"{name_of(type(error))}: {text}" if text else name_of(type(error))
