"""Why a job waits: the reasons, from the state of its queue and workers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aiostreamq import JobInfo, JobState, LaneInfo, Pause, QueueInfo, WorkerInfo, WorkerState
from aiostreamq.web.waiting import why_it_waits

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
INFO = QueueInfo(
    name="shop",
    at=NOW,
    waiting=7,
    running=0,
    delayed=0,
    parked=0,
    dead=0,
    oldest_age=3.0,
    next_due=None,
    paused=(Pause(task="send"), Pause(lane="bulk", until=NOW)),
    window=300.0,
    rate=0.0,
    lanes=(LaneInfo("default", 7, 0, 3.0), LaneInfo("bulk", 1, 0, 3.0)),
    tasks=(),
)
WORKER = WorkerInfo(
    name="w1",
    is_lost=False,
    state=WorkerState.READY,
    host="host",
    pid=1,
    version="1",
    concurrency=10,
    lanes=("default", "bulk"),
    tasks=("send",),
    started_at=NOW,
    last_seen_seconds=0.1,
    running=0,
    jobs=(),
)
BUSY = replace(WORKER, running=10)
DRAINING = replace(WORKER, state=WorkerState.DRAINING)
LOST = replace(WORKER, is_lost=True)
ELSEWHERE = replace(WORKER, lanes=("other",))
HOLDING = replace(WORKER, held_jobs=("a",))
QUEUED = JobInfo("a", "send", JobState.QUEUED, NOW, "default")
PARKED = JobInfo("a", "send", JobState.PARKED, NOW)
DELAYED = JobInfo("a", "send", JobState.DELAYED, None, due=NOW + timedelta(hours=1))
RUNNING = JobInfo("a", "send", JobState.RUNNING, NOW, "default")


@pytest.mark.parametrize(
    ("job", "workers", "says"),
    [
        (QUEUED, [], "no worker is alive"),
        (QUEUED, [LOST], "no worker is alive"),
        (QUEUED, [ELSEWHERE], "no worker that is alive reads the lane 'default'"),
        (QUEUED, [DRAINING], "draining"),
        (QUEUED, [BUSY, BUSY], "all 20 slots of 2 workers are taken"),
        (QUEUED, [WORKER], "7 jobs wait in the lane 'default'"),
        (replace(QUEUED, lane="bulk"), [WORKER], "about to take it"),
        (replace(QUEUED, lane="returned"), [ELSEWHERE], "about to take it"),
        (replace(QUEUED, is_paused=True), [WORKER], "the task 'send' is paused until it is"),
        (
            replace(QUEUED, task="x", lane="bulk", is_paused=True),
            [WORKER],
            "the lane 'bulk' is paused until 12:00:00 UTC",
        ),
        (replace(QUEUED, task="x", is_paused=True), [WORKER], "its task or its lane is paused"),
        (PARKED, [WORKER], "about to move"),
        (replace(PARKED, task="x"), [WORKER], "no worker that is alive knows the task 'x'"),
        (DELAYED, [WORKER], "it is due at 2026-12-01 13:00:00 UTC"),
        (replace(DELAYED, attempt=2), [WORKER], "attempt 2 is due at"),
        (replace(DELAYED, due=NOW), [WORKER], "it is due since 12:00:00 UTC"),
        (RUNNING, [HOLDING], "worker w1 has it"),
    ],
)
def test_reasons(job: JobInfo, workers: list[WorkerInfo], says: str) -> None:
    """The first reason is the one that decides."""
    assert says in why_it_waits(job, INFO, workers)[0]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_ended_job_waits_for_nothing(state: JobState) -> None:
    """A job that has ended has no reason to wait."""
    assert why_it_waits(replace(QUEUED, state=state), INFO, []) == []


def test_running_job_waits_for_nothing() -> None:
    """A job that runs has none either."""
    assert why_it_waits(RUNNING, INFO, [WORKER]) == []
