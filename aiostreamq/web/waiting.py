"""Why a job waits, judged by the state of its queue and its workers."""

from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.model.english import counted
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import OVERFLOW, RETURNED
from aiostreamq.model.worker_state import WorkerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.info import JobInfo, QueueInfo, WorkerInfo


def why_it_waits(job: "JobInfo", info: "QueueInfo", workers: "Sequence[WorkerInfo]") -> list[str]:
    """Return the reasons, the first of which is decisive; empty if the job does not wait."""
    living = [worker for worker in workers if not worker.is_lost]
    reasons = _pauses(job, info) if job.is_paused else []
    match job.state:
        case JobState.DELAYED:
            reasons += _delay(job, info.at)
        case JobState.PARKED:
            if not job.is_paused:
                reasons.append(
                    f"no worker that is alive knows the task {job.task!r}: start one that does"
                    if not any(job.task in worker.tasks for worker in living)
                    else f"a worker that knows {job.task!r} is alive: the job is about to move"
                )
        case JobState.QUEUED:
            reasons += _queue(job, info, living)
        case JobState.RUNNING:
            reasons += _held(job, living)
        case _:
            return []
    return reasons


def _pauses(job: "JobInfo", info: "QueueInfo") -> list[str]:
    reasons: list[str] = []
    for pause in info.paused:
        if pause.task == job.task or (pause.lane is not None and pause.lane == job.lane):
            what = f"task {pause.task!r}" if pause.task else f"lane {pause.lane!r}"
            until = f" until {pause.until:%H:%M:%S} UTC" if pause.until else " until it is resumed"
            reasons.append(f"the {what} is paused{until}")
    return reasons or ["its task or its lane is paused"]


def _delay(job: "JobInfo", now: datetime) -> list[str]:
    if job.due is None:
        return []
    why = f"attempt {job.attempt} is due" if job.attempt > 1 else "it is due"
    if job.due <= now:
        return [f"{why} since {job.due:%H:%M:%S} UTC: a worker is about to move it to its lane"]
    return [f"{why} at {job.due:%Y-%m-%d %H:%M:%S} UTC"]


def _queue(job: "JobInfo", info: "QueueInfo", living: "Sequence[WorkerInfo]") -> list[str]:
    if not living:
        return ["no worker is alive: start one"]
    is_special = job.lane == RETURNED or job.lane in OVERFLOW.values()
    serving = [one for one in living if is_special or not one.lanes or job.lane in one.lanes]
    if not serving:
        return [f"no worker that is alive reads the lane {job.lane!r}"]
    if all(one.state is WorkerState.DRAINING for one in serving):
        return ["all workers of its lane are draining, and take no more jobs"]
    reasons: list[str] = []
    slots = sum(one.concurrency for one in serving)
    taken = sum(one.running for one in serving)
    if slots and taken >= slots:
        workers = counted(len(serving), "worker")
        reasons.append(f"all {slots} slots of {workers} are taken")
    lane = next((one for one in info.lanes if one.name == job.lane), None)
    if lane is not None and lane.waiting > 1:
        reasons.append(f"{lane.waiting:,} jobs wait in the lane {job.lane!r}, the oldest first")
    return reasons or ["a worker is about to take it"]


def _held(job: "JobInfo", living: "Sequence[WorkerInfo]") -> list[str]:
    for worker in living:
        if job.id in worker.held_jobs:
            return [f"worker {worker.name} has it, and waits for a free slot, thread or process"]
    return []
