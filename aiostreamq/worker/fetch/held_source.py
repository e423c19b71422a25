"""Held jobs whose limits have room: when to look for them, and how."""

import asyncio
import math
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiostreamq.client.task import Task
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.store.reads import Read
    from aiostreamq.worker.protocols import Halts, Rules

logger = get_logger("aiostreamq.worker")

# Seconds between looks if nothing says that there is something: a worker that was woken may have
# died before it looked.
INTERVAL = 5.0

# Seconds that a timer runs: some event loops take no years.
_LONGEST_WAIT = 86_400.0


class HeldSource:
    """Admits held jobs to the free slots of a worker.

    Half of its attributes are what it looks with, the others say when to look.
    """

    def __init__(
        self,
        store: "QueueStore",
        consumer: str,
        tasks: "Mapping[str, Task[..., object]]",
        lanes: "Collection[str]",
        pauses: "Halts",
        due: "Callable[[], None]",
        limits: "Rules | None",
    ) -> None:
        """Prepare.

        Args:
            store: The queue.
            consumer: The worker's name.
            tasks: The tasks that it knows.
            lanes: The lanes that it serves.
            pauses: The paused tasks and lanes.
            due: Called when a limit has room again, as time has passed.
            limits: The rules of the code; None if Redis need not know them.
        """
        self._due = due
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None  # rings when a limit has room
        self._store = store
        self._consumer = consumer
        self._tasks = tasks
        self._lanes = lanes
        self._pauses = pauses
        #: whether to look at all: a task has limits, or had some when jobs were enqueued
        self.is_active = False
        self._is_for_all = False  # whether tasks without limits may have held jobs
        self._look_at = 0.0  # when to look again, monotonic
        self._may_have = True  # whether there may be something now
        self._bell = b""  # the entry that has woken this worker
        self._is_awaited = False  # whether this worker has claimed the next look
        self._are_lanes_empty = False  # whether the last read has found nothing in them

    def activate(self, *, is_for_all: bool) -> None:
        """Look from now on: for jobs of tasks that have limits, or of all.

        Jobs of a task that has none were enqueued by code that had some.
        """
        self.is_active = True
        self._is_for_all = self._is_for_all or is_for_all
        self._may_have = True

    @property
    def admitted(self) -> "list[str]":
        """The tasks whose held jobs may run here now."""
        return [
            name
            for name, task in self._tasks.items()
            if (self._is_for_all or task.spec.options.limits) and not self._pauses.has_task(name)
        ]

    @property
    def is_wanted(self) -> bool:
        """Whether to look now."""
        return self.is_active and (self._may_have or clock.monotonic() >= self._look_at)

    @property
    def seconds_left(self) -> float:
        """Seconds until the next look. A read must not wait for longer."""
        return max(0.0, self._look_at - clock.monotonic()) if self.is_active else math.inf

    @property
    def must_hand_over(self) -> bool:
        """Whether this worker has claimed the next look, and others rely on it."""
        return self._is_awaited

    def share(self, free: int) -> int:
        """Return how many free slots held jobs may take: half, or all if the lanes are empty."""
        return free if self._are_lanes_empty else (free + 1) // 2

    def wake(self) -> None:
        """Look now: there may be something."""
        self._may_have = True

    def note(self, read: "Read") -> None:
        """Note what a read has found out about held jobs."""
        self._are_lanes_empty = not read.deliveries
        if read.bell:
            self._bell = read.bell
        self._may_have = self._may_have or bool(read.bell) or read.has_held

    async def admit(self, link: "Link", count: int) -> "Read":
        """Return held jobs whose limits have room.

        Args:
            link: A connection of the caller's own.
            count: How many slots are free; with 0 another worker is to look.
        """
        # Imported at the first use: most workers have no such jobs.
        from aiostreamq.store.held import HeldJobs

        lanes = [lane for lane in self._lanes if not self._pauses.has_lane(lane)]
        held = HeldJobs(self._store)
        has_rules = self._limits is not None and bool(self._limits.rules)
        found = await held.admit(
            link, self._consumer, count, self._bell, lanes, self.admitted, has_rules=has_rules
        )
        self._bell = b""
        if count == 0:
            self._is_awaited = False
            return found.read
        self._may_have = found.has_more
        if found.loss:
            await self._bring_back(found.loss)
        self._is_awaited = found.wait is not None
        self._set_alarm(found.wait)
        return found.read

    def close(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def _bring_back(self, loss: bytes) -> None:
        """Bring back what another program has deleted, and look again."""
        # Imported at the first use: it should never happen.
        from aiostreamq.errors import BrokerError
        from aiostreamq.store.lost_backlogs import LostBacklogs

        try:
            if self._limits is not None and loss == b"rules":
                logger.warning("the rules of limits were deleted in Redis: declaring them again")
                await self._limits.declare()
            elif lost := await LostBacklogs(self._store).find():
                logger.warning(
                    "keys of limits were deleted in Redis: jobs of %d keys were found again", lost
                )
        except BrokerError as error:  # the next look tries again
            logger.warning("what was deleted of limits in Redis cannot be found again: %s", error)
        else:
            self._may_have = True

    def _set_alarm(self, wait: float | None) -> None:
        self.close()
        self._look_at = clock.monotonic() + INTERVAL
        if wait is not None:
            # Not by the time that a read blocks: Redis looks at that ten times a second only, and a
            # test whose clock stands still goes from one timer to the next.
            self._alarm = self._loop.call_later(min(wait, _LONGEST_WAIT), self._due)
