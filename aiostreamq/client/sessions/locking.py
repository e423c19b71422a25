"""The locks that a session holds or waits for, and the renewal of their leases.

Rules of this file:

- A token is one wait and one hold: it is used once. Each end of a wait releases the token.
  So a lock that was granted to a caller who had just given up is released too.
- A lease counts from before the call that asked for it was sent. So the holder knows that it is
  over no later than Redis does. A lease that was over is never renewed.
- A waiter is called through the inbox of its process. A call may be lost, so it also looks again.
"""

import asyncio
import random
from itertools import count
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import BrokerError, LockLost, QueueUnavailable, UsageError, WaitTimeout
from aiostreamq.logs import get_logger
from aiostreamq.store.locks import LockStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.locks")

# A lease is renewed after a third of it at most, and after this share of that at least.
RENEWALS, LEAST_PAUSE = 3, 0.8

# Seconds that a call may take which only tries, and that a release may take.
BRIEFLY = 5.0

_CLOSED = "the queue was closed"


class Hold:
    """A lock that is held."""

    def __init__(self, name: str, token: str, fence: int, lease: float, until: float) -> None:
        self.name = name
        self.token = token
        self.fence = fence
        self.lease = lease  #: seconds
        self.until = until  #: when the lease is over, by the steady clock
        self.task = asyncio.current_task()  #: the task that took it
        self.error: LockLost | None = None  #: why it was lost
        self.lost = asyncio.Event()
        self.on_lost: Callable[[], None] | None = None
        self.keeper: OwnTask[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether another may hold the lock by now. From any thread."""
        return self.error is not None or clock.steady() >= self.until


class Locking:
    """The locks of one session."""

    def __init__(self, store: "QueueStore", waiter: "ResultWaiter") -> None:
        self._locks = LockStore(store)
        self._waiter = waiter
        self._numbers = count(1)
        self.holds: dict[str, Hold] = {}  #: the locks that are held here, by token
        self._waits: dict[str, tuple[str, Wakeup]] = {}  # the lock's name, by token
        self._releases: set[OwnTask[bool]] = set()
        self._is_closed = False

    async def acquire(self, name: str, lease: float, wait: float | None, who: str) -> Hold:
        """Wait for a lock, for some seconds at most, and hold it until `release`.

        Raises:
            WaitTimeout: It was not free in time.
            UsageError: The calling task holds it.
            QueueUnavailable: Redis cannot be reached, or the queue was closed.
            BrokerError: Redis refused.

        Cancelling leaves nothing behind.
        """
        task = asyncio.current_task()
        if any(hold.name == name and hold.task is task for hold in self.holds.values()):
            raise UsageError(f"this task holds lock {name!r} already: it would wait for itself")
        token = f"{self._waiter.inbox}.{next(self._numbers)}"
        self._waits[token] = (name, Wakeup())
        try:
            hold = await self._acquire(name, token, lease, wait, who)
            if self._is_closed:
                raise QueueUnavailable(f"{_CLOSED} while lock {name!r} was waited for")
        except BaseException as error:
            if wait != 0 or not isinstance(error, WaitTimeout):
                self._release_soon(name, token)
            raise
        finally:
            del self._waits[token]
        self.holds[token] = hold
        hold.keeper = spawn(self._keep(hold), "aiostreamq:lock")
        return hold

    async def _acquire(
        self, name: str, token: str, lease: float, wait: float | None, who: str
    ) -> Hold:
        _, wakeup = self._waits[token]
        began, waited_ms = clock.steady(), None if wait == 0 else 0
        left = None if wait is None else wait or BRIEFLY
        while not self._is_closed:
            sent = clock.steady()
            fence, pause = await self._locks.take(
                name, token, round(lease * 1000), who, waited_ms, left
            )
            if fence:
                return Hold(name, token, fence, lease, sent + lease)
            left = None if wait is None else wait - (clock.steady() - began)
            if left is not None and left <= 0:
                raise WaitTimeout(f"lock {name!r} was not free within {wait:g} s")
            self._waiter.hear_calls(self._call)
            pause = pause_of(pause)
            await wakeup.wait(pause if left is None else min(pause, left))
            waited_ms = max(1, round((clock.steady() - began) * 1000))
        raise QueueUnavailable(f"{_CLOSED} while lock {name!r} was waited for")

    async def release(self, hold: Hold) -> None:
        """Release a lock. If this is cancelled it is released all the same.

        Raises:
            LockLost: It was lost before.
        """
        del self.holds[hold.token]
        if hold.keeper is not None:
            hold.keeper.end()
        if hold.error is None and not await asyncio.shield(
            self._release_soon(hold.name, hold.token)
        ):
            raise LockLost(
                f"lock {hold.name!r} was lost before its body ended: another program has taken "
                f"it, or deleted its key"
            )

    def forget(self, hold: Hold) -> None:
        """Forget a lock that was lost."""
        del self.holds[hold.token]

    def _release_soon(self, name: str, token: str) -> OwnTask[bool]:
        release = spawn(self._release(name, token), "aiostreamq:unlock")
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)
        return release

    async def _release(self, name: str, token: str) -> bool:
        """Release a lock; return False if it was lost. If Redis is away its lease ends it."""
        try:
            return await self._locks.release(name, token, BRIEFLY)
        except BrokerError as error:
            if not self._is_closed:
                logger.warning("lock %s could not be released, its lease ends it: %s", name, error)
            return isinstance(error, QueueUnavailable)

    async def _keep(self, hold: Hold) -> None:
        """Renew a lease until it is lost."""
        cause: BaseException | None = None
        why = "another program has taken it, or deleted its key"
        try:
            while True:
                pause = hold.lease / RENEWALS
                await asyncio.sleep(pause * (LEAST_PAUSE + (1 - LEAST_PAUSE) * random.random()))
                sent = clock.steady()
                # `renew` itself has more patience while other calls are on their way to Redis.
                async with asyncio.timeout(max(0.0, hold.until - sent)):
                    is_held = await self._locks.renew(
                        hold.name, hold.token, round(hold.lease * 1000), hold.until - sent
                    )
                if not is_held:
                    break
                if hold.is_lost:
                    raise TimeoutError
                hold.until = sent + hold.lease
        except (BrokerError, TimeoutError) as error:
            cause, why = error, f"it could not be renewed within its lease of {hold.lease:g} s"
        self.lose(hold, why, cause)

    def lose(self, hold: Hold, why: str, cause: BaseException | None = None) -> None:
        """Note that a lock is lost, and notify its holder."""
        if hold.error is not None:
            return
        hold.error = LockLost(f"lock {hold.name!r} was lost: {why}")
        hold.error.__cause__ = cause
        logger.warning("%s", hold.error)
        hold.lost.set()
        self._release_soon(hold.name, hold.token)  # Redis may not know yet
        if hold.on_lost is not None:
            hold.on_lost()

    def _call(self, token: str) -> None:
        """Wake the waiter with a token; all of them if it is empty."""
        for one in [token] if token else list(self._waits):
            if one in self._waits:
                self._waits[one][1].wake()

    async def give_up(self) -> None:
        """Release all locks, and end all waits, as the queue closes. Cancelling is safe."""
        self.close()
        if self._releases:
            await asyncio.wait(list(self._releases))

    def close(self) -> None:
        """End all holds and waits now."""
        if self._is_closed:
            return
        self._is_closed = True
        for hold in list(self.holds.values()):
            if hold.keeper is not None:
                hold.keeper.end()
            self.lose(hold, _CLOSED)
        for token, (name, wakeup) in list(self._waits.items()):
            self._release_soon(name, token)
            wakeup.wake()

    async def wait_closed(self) -> None:
        """Wait until nothing runs after `close`."""
        keepers = [hold.keeper for hold in self.holds.values() if hold.keeper is not None]
        if running := [*keepers, *self._releases]:
            await asyncio.wait(running)


def pause_of(seconds: float) -> float:
    """Return how long to sleep until the next look, which is due in some *seconds*."""
    return seconds * (1 + 0.1 * random.random()) + 0.002
