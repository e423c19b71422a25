"""Jobs as a table and as a page."""

import json
from collections.abc import Iterator
from datetime import datetime

from aiostreamq.cli.format.limits import wait_facts
from aiostreamq.cli.output import ago
from aiostreamq.model.info import JobInfo
from aiostreamq.model.job_state import JobState
from aiostreamq.model.terminal_text import visible

HEADS = ("JOB", "TASK", "STATE", "SINCE (UTC)", "LANE", "RUNS", "WORKER")


def as_row(job: JobInfo) -> tuple[str, ...]:
    """Return the row of a table for a job, under HEADS."""
    at = job.state_since or job.due
    when = "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
    return (
        job.id,
        job.task or "-",
        _state(job),
        when if job.due is None else f"due {when}",
        job.lane or "-",
        _runs(job) or "-" if job.run_seconds is None else f"ran {ago(job.run_seconds)}",
        job.worker or "-",
    )


def as_page(job: JobInfo, queue: str) -> str:
    """Return a job in full, for people.

    Args:
        job: The job.
        queue: The arguments that name the queue, for the commands that the page shows.
    """
    lines = [f"{name:<11} {visible(str(value))}" for name, value in _facts(job) if value]
    if job.dead_letter:
        lines += [
            f"{'show it':<11} aiostreamq dead-letters show {queue} {job.dead_letter}",
            f"{'replay it':<11} aiostreamq dead-letters replay {queue} {job.dead_letter}",
        ]
    if job.traceback:
        lines += ["", *map(visible, job.traceback.splitlines())]
    return "\n".join(lines)


def _facts(job: JobInfo) -> Iterator[tuple[str, object]]:
    yield "job", job.id
    yield "task", job.task
    yield "state", _state(job)
    yield "since", None if job.ended_at else _time(job.state_since)
    yield "due", _time(job.due)
    if job.wait is not None:
        yield from wait_facts(job.wait)
    yield "enqueued", _time(job.enqueued_at)
    yield "started", job.started_at and f"about {_time(job.started_at)}"
    yield "ended", _time(job.ended_at)
    yield "ran", job.run_seconds and f"about {ago(job.run_seconds)}"
    yield "lane", job.lane
    yield "worker", job.worker
    yield "attempt", job.delivery and f"{job.attempt}{', the next' if _waits(job) else ''}"
    yield "deliveries", _runs(job)
    yield "error", job.error
    yield "args", None if job.args is None else json.dumps(job.args)
    yield "kwargs", json.dumps(job.kwargs) if job.kwargs else None
    yield "headers", json.dumps(job.headers) if job.headers else None
    yield "tags", " ".join(job.tags)
    yield from job.callbacks.items()
    yield "parent", job.parent
    yield "unique", job.unique and f"until {job.unique}"
    yield "waits for", _awaited(job)
    yield "dead letter", job.dead_letter


def _awaited(job: JobInfo) -> str:
    """Return what a job waits for beside its turn; empty if that is nothing."""
    if job.is_debounced:
        return f"further calls of its key, until {_time(job.due)} if none comes"
    return f"the end of job {', '.join(job.waits_for)}" if job.waits_for else ""


def _waits(job: JobInfo) -> bool:
    return job.state in {JobState.QUEUED, JobState.DELAYED, JobState.HELD, JobState.PARKED}


def _runs(job: JobInfo) -> str:
    """Return how often a worker has had the job; empty if that is unknown."""
    if not job.delivery:
        return ""
    return str(job.delivery - _waits(job))  # of a job that waits, it is the number of the next one


def _state(job: JobInfo) -> str:
    return f"{job.state} (paused)" if job.is_paused else job.state


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
