"""Dead workers are found, and their jobs recovered.

Every worker does this for all others; there is no leader. Two that find the same worker dead at
once do no harm: each delivery is moved by the first of them.
"""

import asyncio
import random
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.grammar import counted
from aiostreamq.model.lease import LeaseWatch
from aiostreamq.model.telemetry import JobsRecovered
from aiostreamq.store.connection.link import CommandError

if TYPE_CHECKING:
    from aiostreamq.store.dead_letters import DeadLetterStore
    from aiostreamq.store.workers import WorkerRegistry
    from aiostreamq.worker.telemetry import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds between looks at most, about, and as a fraction of the lease. Together with the lease this
# bounds how long the jobs of a killed worker stay away.
INTERVAL = 0.8
PART_OF_LEASE = 1 / 4

# Seconds between looks at least, also if a lease is about to run out.
SHORTEST = 0.05

# After this many looks the consumer groups are searched for workers that never joined.
THOROUGH_EVERY = 30


class Reaper:
    """Watches the other workers of a queue."""

    def __init__(
        self,
        registry: "WorkerRegistry",
        letters: "DeadLetterStore",
        name: str,
        lease_ms: int,
        max_worker_deaths: int,
        listeners: "WorkerListeners",
    ) -> None:
        self._registry = registry
        self._letters = letters
        self._name = name
        self._lease_ms = lease_ms
        self._max_worker_deaths = max_worker_deaths
        self._listeners = listeners
        self._interval = min(INTERVAL, lease_ms / 1000 * PART_OF_LEASE)
        self._sightings = LeaseWatch(self._interval)
        self._stuck: set[str] = set()  # those whose jobs cannot be recovered, as was logged

    async def run(self) -> None:
        """Watch until cancelled."""
        looks = random.randrange(THOROUGH_EVERY)
        links = self._registry.connection_count
        while True:
            await asyncio.sleep(self._pause())
            looks += 1
            try:
                thorough = looks % THOROUGH_EVERY == 0
                asked = clock.monotonic()
                beats = await self._registry.list_workers(self._lease_ms, thorough=thorough)
                if self._registry.connection_count != links or clock.monotonic() - asked > INTERVAL:
                    # Redis was away, for the others too. Each has a whole lease to come back.
                    links = self._registry.connection_count
                    self._sightings.forget()
                self._stuck &= beats.keys()
                others = {name: beat for name, beat in beats.items() if name != self._name}
                for name, beat in self._sightings.look(others, clock.monotonic()):
                    await self._try_to_recover(name, beat)
                if thorough:
                    await self._letters.forget_old()
            except AioStreamQError:
                logger.exception("the other workers could not be checked, retrying")

    def _pause(self) -> float:
        usual = self._interval * (0.8 + 0.4 * random.random())
        # Not past the end of a lease: that would cost the jobs another interval.
        return min(usual, max(SHORTEST, self._sightings.soonest()))

    async def _try_to_recover(self, name: str, beat: str) -> None:
        try:
            await self._recover(name, beat)
        except AioStreamQError:  # the jobs of other dead workers come first
            if name not in self._stuck:
                self._stuck.add(name)
                logger.exception("the jobs of dead worker %s cannot be recovered, retrying", name)

    async def _recover(self, name: str, beat: str) -> None:
        returned = given_up = finished = 0
        try:
            await self._registry.disconnect(name)
        except CommandError as error:
            logger.warning("could not disconnect dead worker %s: %s", name, error)
        while finished == 0:
            reaped = await self._registry.recover(name, beat, self._max_worker_deaths)
            returned, given_up = returned + reaped.returned, given_up + reaped.given_up
            finished = reaped.finished
        if self._listeners.is_heard and (finished > 0 or given_up):
            self._listeners.report(JobsRecovered, name, returned, given_up)
        if finished > 0:
            logger.warning("worker %s is dead: recovered %s", name, counted(returned, "job"))
        if given_up:
            logger.error(
                "gave up %s after %s: see the dead letters",
                counted(given_up, "job"),
                counted(self._max_worker_deaths, "worker death"),
            )
