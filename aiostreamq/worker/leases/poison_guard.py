"""Jobs that were with workers that died: which of them is the cause?

A job that kills its process takes its neighbours along, and they come back together.
So each further run of such a job is first recorded in Redis, and only recorded runs count
against it. On its last chance it is run alone: other suspects wait, or are run by other workers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.workers import WorkerRegistry

logger = get_logger("aiostreamq.worker")

# Seconds after its start in which a job is watched. A job that kills its process mostly does so at
# once, and jobs that take hours must not wait for each other.
WATCH = 1.0


class PoisonGuard:
    """Decides when a job may run that was with workers that died."""

    def __init__(
        self, registry: "WorkerRegistry", max_worker_deaths: int, reopened: Callable[[], None]
    ) -> None:
        """Prepare; *reopened* is called when other jobs may start again."""
        self.is_closed = False  #: one has its last chance: nothing else may start
        self._registry = registry
        self._reopened = reopened
        # Never all jobs, not even if the first death is the last.
        self._last_chance = max(1, max_worker_deaths - 1)
        self._watched = 0  # suspects that started lately, that one not among them
        self._none_watched = asyncio.Event()
        self._none_watched.set()

    def admit(self, delivery: "Delivery") -> "SuspectRun":
        """Take a job that is about to run. Must not be called while this is closed.

        Returns:
            The context to run the job in.
        """
        if delivery.deaths < self._last_chance:
            self._watched += 1
            self._none_watched.clear()
            return SuspectRun(partial(self._mark, delivery), self._forget)
        self.is_closed = True  # from now on, so that no more are watched
        return SuspectRun(partial(self._wait_alone, delivery), self._open)

    async def _wait_alone(self, delivery: "Delivery") -> None:
        await self._none_watched.wait()
        await self._mark(delivery)

    async def _mark(self, delivery: "Delivery") -> None:
        try:
            await self._registry.note_suspect_run(delivery)
        except BrokerError:
            logger.exception("the run of a suspected job could not be recorded, running it")

    def _forget(self) -> None:
        self._watched -= 1
        if not self._watched:
            self._none_watched.set()

    def _open(self) -> None:
        self.is_closed = False
        self._reopened()


class SuspectRun:
    """One run of a suspect: it waits to begin, and is watched for a second or until it is over.

    Args:
        opening: Waits until the run may begin.
        over: Called when it is watched no more.
    """

    def __init__(self, opening: Callable[[], Awaitable[None]], over: Callable[[], None]) -> None:
        self._opening = opening
        self._over: Callable[[], None] | None = over
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        try:
            await self._opening()
        except BaseException:
            self.close()
            raise
        self._timer = asyncio.get_running_loop().call_later(WATCH, self.close)

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, whether or not it has begun. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
        over, self._over = self._over, None
        if over is not None:
            over()
