"""A context manager that is entered and left in an asyncio task of its own."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from aiostreamq.aio.own_tasks import JobTask, leave_behind
from aiostreamq.signals_and_forks import is_ctrl_c

T = TypeVar("T")

# Seconds that a context gets to end in once it was cancelled.
OBEY = 1.0


class HeldContext(Generic[T]):
    """A context that is open until it is asked to end.

    It has a task of its own, because task groups and cancel scopes must be left in the task that
    entered them, and because a hanging or failing context must not take its owner along.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T], name: str) -> None:
        """Describe it; must be called in the event loop.

        Args:
            manager: The context manager.
            name: The name of its task.
        """
        self.is_ending = False  #: whether it was asked to end
        self.failure: BaseException | None = None  #: what entering or leaving it raised
        self._manager = manager
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[T] = self._loop.create_future()
        self._end = asyncio.Event()
        self._error: BaseException | None = None
        self.task: JobTask | None = None  #: None until it is entered; ends with the context

    async def enter(self) -> T:
        """Enter the context and return its value.

        Raises:
            BaseException: Any exception that entering raised.

        Cancelling cancels the entering too, and waits `OBEY` seconds for it.
        """
        self.task = task = JobTask(self._live(), loop=self._loop, name=self._name)
        waited: set[asyncio.Future[object]] = {self._entered, task}  # pyright: ignore[reportAssignmentType]  # futures are invariant
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.is_ending = True
            await self._cancel()
            raise
        if self._entered.done():
            return self._entered.result()
        if self.failure is None:
            raise RuntimeError("the context ended before it was entered")
        raise self.failure

    async def leave(self, patience: float | None, error: BaseException | None = None) -> bool:
        """Leave the context; return whether it has ended.

        Args:
            patience: Seconds after which it is cancelled, and then abandoned; None is never.
            error: An exception to leave it with.

        An exception of the leaving is in `failure`. Cancelling cancels the leaving too.
        """
        assert self.task is not None
        self.is_ending = True
        self._error = error
        self._end.set()
        try:
            await asyncio.wait({self.task}, timeout=patience)
        except asyncio.CancelledError:
            self.abort()
            raise
        return self.task.done() or await self._cancel()

    def abort(self) -> None:
        """Cancel it, and wait for nothing."""
        self.is_ending = True
        if self.task is not None:
            self.task.end()

    async def _cancel(self) -> bool:
        assert self.task is not None
        self.task.end()
        await asyncio.wait({self.task}, timeout=OBEY)
        if not self.task.done():
            leave_behind(self.task)
            return False
        return True

    async def _live(self) -> None:
        try:
            async with self._manager as value:
                self._entered.set_result(value)
                await self._end.wait()
                if self._error is not None:
                    raise self._error
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            if error is not self._error:
                self.failure = error
