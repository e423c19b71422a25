"""Dead workers are found, and their jobs recovered.

Every worker does this for all others; there is no leader. A look claims the dead workers that it
finds, so that the survivors share them. Two that recover the same worker do no harm: each delivery
is moved by the first of them.
"""

import asyncio
import random
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.store.connection.link import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.dead_letters import DeadLetterStore
    from aiostreamq.store.workers import DeadWorker, WorkerRegistry
    from aiostreamq.worker.listener_events import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds until the next look after one that failed.
RETRY = 0.8

# How many workers with jobs that cannot be recovered are remembered, so that each is logged once.
MOST_STUCK = 1000


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
        self._stuck: set[str] = set()  # those whose jobs cannot be recovered, as was logged

    async def run(self) -> None:
        """Watch until cancelled: look once at the start, and then once a tick or more often."""
        # The second look comes early by chance, so that workers that start together spread out.
        share = random.random()
        while True:
            pause = RETRY
            try:
                pause = await self._look()
            except AioStreamQError:
                logger.exception("the other workers could not be checked, retrying")
            await asyncio.sleep(clock.lease_pause(pause * share))
            share = 1.0

    async def _look(self) -> float:
        """Recover what is found dead; return the seconds until the next look."""
        while True:
            look = await self._registry.find_dead(self._name, self._lease_ms)
            if look.dead:
                await self._disconnect(look.dead)
                for one in look.dead:
                    await self._try_to_recover(one)
            if look.is_census_due:
                await self._registry.register_strays(self._lease_ms)
                await self._letters.forget_old()
            if not look.has_more:
                return look.pause

    async def _disconnect(self, dead: "Sequence[DeadWorker]") -> None:
        try:
            await self._registry.disconnect(dead)
        except CommandError as error:
            names = ", ".join(one.name for one in dead)
            logger.warning("could not disconnect dead workers %s: %s", names, error)

    async def _try_to_recover(self, dead: "DeadWorker") -> None:
        try:
            await self._recover(dead)
        except AioStreamQError:  # the jobs of other dead workers come first
            if dead.name not in self._stuck:
                self._stuck.add(dead.name)
                logger.exception(
                    "the jobs of dead worker %s cannot be recovered, retrying", dead.name
                )
        else:
            self._stuck.discard(dead.name)
        if len(self._stuck) > MOST_STUCK:
            self._stuck.clear()

    async def _recover(self, dead: "DeadWorker") -> None:
        returned = given_up = finished = 0
        while finished == 0:
            reaped = await self._registry.recover(dead.name, dead.beat, self._max_worker_deaths)
            returned, given_up = returned + reaped.returned, given_up + reaped.given_up
            finished = reaped.finished
        if self._listeners.is_heard and (finished > 0 or given_up):
            from aiostreamq.model.listener_events import JobsRecovered

            self._listeners.report(JobsRecovered, dead.name, returned, given_up)
        if finished > 0:
            logger.warning("worker %s is dead: recovered %s", dead.name, counted(returned, "job"))
        if given_up:
            logger.error(
                "gave up %s after %s: see the dead letters",
                counted(given_up, "job"),
                counted(self._max_worker_deaths, "worker death"),
            )
