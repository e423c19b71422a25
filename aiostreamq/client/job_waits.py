"""Why a job waits: a pause, a limit, no worker for it, or no free slot."""

from typing import TYPE_CHECKING

from aiostreamq.model.backlog_names import held_job
from aiostreamq.model.info import JobInfo, WorkerInfo, parse_worker
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import RESERVED
from aiostreamq.model.limit_reports import JobWait, WaitReason
from aiostreamq.model.pauses import among
from aiostreamq.model.stored import text
from aiostreamq.model.time import moment
from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.inspect.snapshot import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.store.inspect.limit_states import Explained
    from aiostreamq.store.queue import QueueStore

# The states of jobs that wait for something other than their time.
_WAITING = {JobState.QUEUED, JobState.HELD, JobState.PARKED}


class Waits:
    """Finds out why jobs of a queue wait."""

    def __init__(self, store: "QueueStore") -> None:
        self._snapshots = Snapshots(store)
        self._limits = LimitStates(store)

    async def of_job(self, job: JobInfo, fields: "Mapping[bytes, bytes]") -> JobWait | None:
        """Return why a job waits; None if it does not, or only for its time.

        Args:
            job: The job.
            fields: Its hash.
        """
        if job.state not in _WAITING or not job.task:
            return None
        lane = None if not job.lane or job.lane in RESERVED else job.lane
        if job.state is not JobState.HELD:
            return await self.of_call(job.task, lane)
        backlog, costs = held_job(job.id, fields).backlog, text(fields.get(b"o", b""))
        return await self.of_call(job.task, lane, backlog, costs, job.id)

    async def of_call(
        self, task: str, lane: str | None, backlog: str = "", costs: str = "", job_id: str = ""
    ) -> JobWait:
        """Return why a job waits, or would wait.

        Args:
            task: Its task.
            lane: Its lane; None if the lane is unknown, or read by every worker.
            backlog: The name of its backlog; empty if its task has no limits.
            costs: Its costs, a number for each limit; empty for 1 each.
            job_id: Its id; empty if it is not there yet.
        """
        explained = None
        if backlog:
            explained = await self._limits.explain(backlog, costs, job_id)
        paused = among(await self._snapshots.paused(), [task], [] if lane is None else [lane])
        if paused:
            return _wait(WaitReason.PAUSED, explained, until_ms=_end_of(paused.values()))
        if not await self._is_served(task, lane):
            return _wait(WaitReason.NO_WORKER, explained)
        return _wait(WaitReason.SLOT if explained is None else _reason_of(explained), explained)

    async def _is_served(self, task: str, lane: str | None) -> bool:
        """Whether a living worker runs such jobs. Assumed if one has not reported its tasks."""
        now_ms = await self._snapshots.now_ms()
        registered = await self._snapshots.workers()
        workers = [parse_worker(name, beat, about, now_ms) for name, beat, about in registered]
        return any(_serves(one, task, lane) for one in workers if not one.is_lost)


def _serves(worker: WorkerInfo, task: str, lane: str | None) -> bool:
    if worker.started_at is None:  # it has sent no description
        return True
    return task in worker.tasks and (lane is None or lane in worker.lanes)


def _end_of(ends: "Iterable[int]") -> int:
    """Return when the last of some pauses ends; 0 if one of them has no end."""
    found = list(ends)
    return 0 if 0 in found else max(found)


def _reason_of(explained: "Explained") -> WaitReason:
    is_refused = bool(explained.awaited) or not all(one.has_room for one in explained.limits)
    return WaitReason.LIMIT if is_refused else WaitReason.SLOT


def _wait(reason: WaitReason, explained: "Explained | None", until_ms: int = 0) -> JobWait:
    until = moment(until_ms) if until_ms else None
    if explained is None:
        return JobWait(reason, until=until)
    limit = ""
    if reason is WaitReason.LIMIT:
        # The one that has no room; else the one that the jobs before it wait for.
        full = next((one for one in explained.limits if not one.has_room), None)
        limit, until = (full.name, full.room_at) if full else (explained.awaited, None)
    return JobWait(reason, limit, until, explained.ahead, explained.limits)
