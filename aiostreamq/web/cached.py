"""Values that are loaded from Redis when they are asked for, and shared for a short time.

However many browsers look on, each value is loaded once in its time: that bounds what they
cost Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq import clock
from aiostreamq.client.doctor import OK, Finding, diagnose

if TYPE_CHECKING:
    from datetime import datetime

    from aiostreamq.client.dead_letters.grouping import DeadLetterGroups
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.info import MinuteInfo, QueueInfo, WorkerInfo

T = TypeVar("T")

# Seconds that values are shared. The doctor asks about twenty times as much as a look.
LOOK_EVERY = 2.0
DIAGNOSE_EVERY = 30.0
GROUP_EVERY = 5.0

# How far back the charts go, which is how long Redis has the counters; and how often that is
# read as a whole: in between, only the last minutes can change.
HISTORY = 179 * 60.0
RECENT = 120.0

# Letters that are grouped, and for how many seconds.
GROUPED = 2000
GROUPING_TIME = 0.04


class Cached(Generic[T]):
    """A value that is loaded if it is older than some seconds. Callers share one load."""

    def __init__(self, load: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._until = -1.0

    async def get(self) -> T:
        """Return the value, loaded at most some seconds ago."""
        async with self._lock:
            if self._value is None or clock.monotonic() > self._until:
                self._value = await self._load()
                self._until = clock.monotonic() + self._seconds
            return self._value

    def forget(self) -> None:
        """Load the value again when it is asked for next, after a change."""
        self._until = -1.0


class History:
    """The ends of each minute, of which only the last ones are read again."""

    def __init__(self, queue: "QueueClient") -> None:
        self._queue = queue
        self._minutes: dict[datetime, MinuteInfo] = {}

    async def load(self) -> "list[MinuteInfo]":
        """Return the minutes, oldest first."""
        newest = max(self._minutes, default=None)
        window = HISTORY
        if newest is not None:
            window = min(HISTORY, RECENT + clock.wall() - newest.timestamp())
        for minute in await self._queue.history(window=max(RECENT, window)):
            self._minutes[minute.at] = minute
        kept = sorted(self._minutes)[-int(HISTORY / 60) - 1 :]
        self._minutes = {at: self._minutes[at] for at in kept}
        return list(self._minutes.values())


class Looks:
    """The values that the pages about one queue show, shared by all browsers."""

    def __init__(self, queue: "QueueClient") -> None:
        self._queue = queue
        self.info: Cached[QueueInfo] = Cached(queue.info, LOOK_EVERY)
        self.history: Cached[list[MinuteInfo]] = Cached(History(queue).load, LOOK_EVERY)
        self.workers: Cached[list[WorkerInfo]] = Cached(queue.workers, LOOK_EVERY)
        self.findings: Cached[list[Finding]] = Cached(self._diagnose, DIAGNOSE_EVERY)
        self.groups: Cached[DeadLetterGroups] = Cached(self._group, GROUP_EVERY)

    def forget(self) -> None:
        """Load everything but the history again, after a change."""
        for one in (self.info, self.workers, self.findings, self.groups):
            one.forget()

    async def _diagnose(self) -> list[Finding]:
        findings = await diagnose(self._queue, scans_keys=False)
        return [one for one in findings if one.level != OK]

    async def _group(self) -> "DeadLetterGroups":
        return await self._queue.dead_letters.groups(searched=GROUPED, timeout=GROUPING_TIME)
