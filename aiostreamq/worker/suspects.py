"""Jobs that were with workers when they died: which of them is the cause?

A job that kills its process takes its neighbours along, and they come back together.
So before such a job is run once more that is written down, and only what was run counts
against it. On its last chance it is run alone: what it could be mistaken for waits.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.roster import Roster

logger = logging.getLogger("aiostreamq.worker")

# Seconds after its start in which a job is watched. What kills its process mostly does
# so at once, and jobs that take hours must not wait for each other.
WATCH = 1.0


class Suspects:
    """Says when a job that has cost workers their life may run."""

    def __init__(self, roster: "Roster", max_deliveries: int, reopened: Callable[[], None]) -> None:
        """Prepare; *reopened* is called when the others may start again."""
        self.is_closed = False  #: one has its last chance: nothing else may start
        self._roster = roster
        self._reopened = reopened
        # Never all jobs, not even where the first death is the last.
        self._last_chance = max(1, max_deliveries - 1)
        self._door = asyncio.Lock()  # held while one has its last chance; fair
        self._watched = 0  # suspects that started lately, that one not among them
        self._none_watched = asyncio.Event()
        self._none_watched.set()

    @asynccontextmanager
    async def turn(self, delivery: "Delivery") -> AsyncGenerator[None]:
        """Wait until the job may run, and run it inside. Cancelling is safe."""
        if delivery.deaths < self._last_chance:
            watch = await self._wait_among_others()
        else:
            watch = await self._wait_alone()
        try:
            await self._mark(delivery)
            yield
        finally:
            watch.end()

    async def _wait_among_others(self) -> "Watch":
        async with self._door:
            self._watched += 1
            self._none_watched.clear()
        return Watch(self._forget)

    async def _wait_alone(self) -> "Watch":
        await self._door.acquire()
        try:
            await self._none_watched.wait()
        except BaseException:
            self._door.release()
            raise
        self.is_closed = True
        return Watch(self._open)

    def _forget(self) -> None:
        self._watched -= 1
        if not self._watched:
            self._none_watched.set()

    def _open(self) -> None:
        self.is_closed = False
        self._door.release()
        self._reopened()

    async def _mark(self, delivery: "Delivery") -> None:
        try:
            await self._roster.mark(delivery)
        except BrokerError:
            logger.exception("a job that was with dead workers could not be marked, running it")


class Watch:
    """The first second of a run, or all of a shorter one."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over: Callable[[], None] | None = over
        self._timer = asyncio.get_running_loop().call_later(WATCH, self.end)

    def end(self) -> None:
        """Say that it is over, the first time this is called."""
        self._timer.cancel()
        over, self._over = self._over, None
        if over is not None:
            over()
