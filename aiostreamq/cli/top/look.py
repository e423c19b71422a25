"""The questions of `aiostreamq top` to Redis: one look at a queue, at a bounded cost."""

from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.client.doctor import OK, Finding, diagnose
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.model.info import QueueInfo, TaskInfo, WorkerInfo
    from aiostreamq.queue import Queue

# Seconds after which the dearer parts are asked for again; the counts are, for each look.
TRENDS_EVERY = 20.0
LETTERS_EVERY = 10.0
DIAGNOSE_EVERY = 30.0

# How far back a trend goes, and of how many tasks and letters at most.
TREND = 10 * 60.0
MOST_TRENDS = 20
MOST_LETTERS = 50


@record
class Look:
    """A queue at one moment."""

    info: "QueueInfo"
    workers: "list[WorkerInfo]"
    letters: "list[DeadLetter]"  #: the newest first
    findings: list[Finding]  #: those that are not ok
    trends: dict[str, list[int]]  #: by task, how many jobs ended in each of the last minutes


class Looker:
    """Looks at a queue again and again, and keeps what is asked for less often."""

    def __init__(self, queue: "Queue") -> None:
        self._queue = queue
        self._letters: list[DeadLetter] = []
        self._findings: list[Finding] = []
        self._trends: dict[str, list[int]] = {}
        self._dead = -1  # how many letters there were when they were read
        self._due: dict[str, float] = {}

    async def look(self) -> Look:
        """Return what is there now.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.
        """
        info = await self._queue.info()
        workers = await self._queue.workers()
        if info.dead != self._dead or self._is_due("letters", LETTERS_EVERY):
            self._letters = list(await self._queue.dead_letters.list(limit=MOST_LETTERS))
            self._dead = info.dead
        if self._is_due("trends", TRENDS_EVERY):
            self._trends = {
                task.name: await self._trend(task.name) for task in _busiest(info.tasks)
            }
        if self._is_due("findings", DIAGNOSE_EVERY):
            found = await diagnose(self._queue, scans_keys=False)
            self._findings = [one for one in found if one.level != OK]
        return Look(info, workers, self._letters, self._findings, self._trends)

    def forget(self) -> None:
        """Read the dead letters again with the next look, after a change."""
        self._dead = -1

    def _is_due(self, part: str, seconds: float) -> bool:
        now = clock.monotonic()
        if now < self._due.get(part, now):
            return False
        self._due[part] = now + seconds
        return True

    async def _trend(self, task: str) -> list[int]:
        minutes = await self._queue.history(window=TREND, task=task)
        return [sum(minute.ended.values()) for minute in minutes]


def _busiest(tasks: "tuple[TaskInfo, ...]") -> "list[TaskInfo]":
    return sorted(tasks, key=lambda task: task.rate, reverse=True)[:MOST_TRENDS]
