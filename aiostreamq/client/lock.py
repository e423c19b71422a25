"""`Lock` and `Fence`: a lock of all programs that have a queue."""

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from aiostreamq.client.current_job import JOB
from aiostreamq.errors import LockLost, UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.model.keys import checked_name

if TYPE_CHECKING:
    from types import TracebackType

    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.sessions.locking import Hold, Locking
    from aiostreamq.model.duration import Duration

# Seconds. A shorter lease would be over while a busy event loop does something else.
SHORTEST_LEASE = 0.1

# Characters.
_LONGEST_WHO = 256


class Fence(int):
    """The number of one hold of a lock: higher than that of each holder before.

    Send it with what you write, and refuse a write with a lower one than the last.
    """

    _hold: "Hold"

    @classmethod
    def of(cls, hold: "Hold") -> "Fence":
        """Return the fence of a lock that is held."""
        fence = cls(hold.fence)
        fence._hold = hold
        return fence

    @property
    def is_lost(self) -> bool:
        """Whether the lock was lost, so that another may hold it. From any thread."""
        return self._hold.is_lost

    async def wait_lost(self) -> None:
        """Wait until the lock is lost. Cancelling is safe."""
        await self._hold.lost.wait()

    def __reduce__(self) -> tuple[object, ...]:
        return int, (int(self),)


class Lock:
    """A lock of all programs that have a queue, made by `queue.lock`; enter it with `async with`.

    It can be entered again after it was left.
    """

    def __init__(
        self,
        core: "QueueCore",
        name: str,
        lease: "Duration",
        wait: "Duration | None",
        *,
        cancel_if_lost: bool,
    ) -> None:
        self.name = checked_name("lock", name)
        self._core = core
        self._lease = seconds("lease", lease)
        self._wait = None if wait is None else seconds("wait", wait)
        self._cancel_if_lost = cancel_if_lost
        self._held: tuple[Locking, Hold] | None = None
        self._task: asyncio.Task[object] | None = None  # that was cancelled as the lock was lost
        self._cancelling = 0  # how many cancellations the body has met before it began
        if self._lease < SHORTEST_LEASE:
            raise UsageError(f"lease={lease!r} is too short: use 0.1 s or more")

    def __repr__(self) -> str:
        return f"<Lock {self.name} of {self._core.name}>"

    async def __aenter__(self) -> Fence:
        """Wait for the lock.

        Raises:
            WaitTimeout: It was not free within `wait`.
            UsageError: The calling task holds this lock already, or this object is entered.
            QueueUnavailable: Redis cannot be reached, or the queue was closed.
            BrokerError: Redis refused.

        Cancelling leaves nothing behind: also a lock that was just granted is released.
        """
        if self._held is not None:
            raise UsageError(f"this {self!r} is entered: make another with queue.lock(...)")
        locking = self._core.session().locking
        hold = await locking.acquire(self.name, self._lease, self._wait, _who())
        if self._held is not None:  # two tasks have entered it at once
            await locking.release(hold)
            raise UsageError(f"this {self!r} is entered: make another with queue.lock(...)")
        self._held, self._task = (locking, hold), None
        if self._cancel_if_lost and hold.task is not None:
            self._cancelling = hold.task.cancelling()
            hold.on_lost = self._cancel
        return Fence.of(hold)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        """Release the lock.

        Raises:
            LockLost: It was lost while the body ran, and `cancel_if_lost` is set.
            UsageError: It is not entered.

        If it is cancelled, the lock is released all the same.
        """
        if self._held is None:
            raise UsageError(f"this {self!r} is not entered: use it with `async with`")
        (locking, hold), self._held = self._held, None
        if hold.error is None:
            hold.on_lost = None
            try:
                await locking.release(hold)
            except LockLost:
                if error is None and self._cancel_if_lost:
                    raise
            return
        locking.forget(hold)
        is_cancelled = isinstance(error, asyncio.CancelledError)
        is_alone = await self._end_cancel(is_delivered=is_cancelled)
        if self._cancel_if_lost and (error is None or (is_cancelled and is_alone)):
            raise hold.error from hold.error.__cause__

    def _cancel(self) -> None:
        assert self._held is not None
        task = self._held[1].task
        if task is not None and task.cancel():
            self._task = task

    async def _end_cancel(self, *, is_delivered: bool) -> bool:
        """Take back our cancellation of the body, if any; return whether there was no other."""
        task, self._task = self._task, None
        if task is None:
            return False
        if not is_delivered:  # it comes with the next turn, maybe together with another
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if task.uncancel() > self._cancelling:
                    raise
                return True
        return task.uncancel() <= self._cancelling


def _who() -> str:
    """Return who calls, for operators."""
    place = f"{socket.gethostname()}:{os.getpid()}"
    job = JOB.get()
    who = place if job is None else f"{job[0]} {job[1]} on {place}"
    return who[:_LONGEST_WHO]
