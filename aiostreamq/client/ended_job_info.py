"""The record of a job that has ended: its outcome, and the rest that Redis keeps of it.

A job leaves no timeline. The time of its end is in the list of recently ended jobs, as long
as the job is in it. A failed job also leaves a dead letter with its last run.
"""

from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.client.ids import made_ms
from aiostreamq.errors import JobError
from aiostreamq.model.info import JobInfo, time_of
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import UNREADABLE, Outcome, Unreadable, decode_outcome
from aiostreamq.model.stats import read_recent
from aiostreamq.model.time import moment
from aiostreamq.store.dead_letters import DeadLetterStore, Span
from aiostreamq.store.inspect.snapshot import Snapshots

if TYPE_CHECKING:
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.store.queue import QueueStore

# The longest time between the dead letter of a job and the entry for its end.
COUNTED_WITHIN = timedelta(minutes=1)

# How many letters are searched for a job if the time of its end is unknown.
MOST_LETTERS = 10_000

# Generated ids begin with a time, and ids chosen by users may look like them: no job is from
# before 2017, or from after 2100.
_TIMES_MS = range(1_500_000_000_000, 4_100_000_000_000)

# Jobs that end in these states leave no letter.
_WITHOUT_LETTER = {JobState.DONE, JobState.CANCELLED, JobState.DROPPED, JobState.EXPIRED}


class _End(NamedTuple):
    at: datetime
    run_seconds: float | None  #: approximate


async def look_at_ended(store: "QueueStore", job_id: str, written: bytes) -> JobInfo:
    """Return what is known about a job, given its outcome as JSON.

    Raises:
        JobError: This release cannot read the outcome.
    """
    try:
        outcome: Outcome = decode_outcome(written)
    except Unreadable as error:
        raise JobError(UNREADABLE, job_id=job_id) from error
    end = await _end_of(Snapshots(store), job_id)
    letter = None
    if outcome.state not in _WITHOUT_LETTER:
        letter = await _letter_of(DeadLetterStore(store), job_id, end and end.at)
    return _joined(job_id, outcome, end, letter)


def _joined(
    job_id: str, outcome: Outcome, end: _End | None, letter: "DeadLetter | None"
) -> JobInfo:
    failure = outcome.failure
    ended_at = end.at if end else None
    info = JobInfo(
        job_id,
        outcome.task,
        outcome.state,
        ended_at,
        run_seconds=end.run_seconds if end else None,
        error=f"{failure.type}: {failure.message}" if failure else "",
        traceback=failure.traceback if failure else "",
        enqueued_at=enqueued_at(job_id),
        ended_at=ended_at,
        result=outcome.value,
    )
    if letter is not None:
        info = replace(
            info,
            state_since=letter.died_at,
            ended_at=letter.died_at,
            lane=letter.lane,
            worker=letter.worker,
            attempt=letter.attempt,
            delivery=letter.deliveries,
            args=letter.args,
            kwargs=None if letter.args is None else letter.kwargs,
            headers=letter.headers,
            tags=letter.tags,
            callbacks=letter.callbacks,
            parent=letter.parent,
            dead_letter=letter.id,
        )
    if info.ended_at is not None and info.run_seconds is not None:
        info = replace(info, started_at=info.ended_at - timedelta(seconds=info.run_seconds))
    return info


def enqueued_at(job_id: str) -> datetime | None:
    """Return when a job was enqueued, read from its id; None if a user chose the id."""
    at_ms = made_ms(job_id)
    return moment(at_ms) if at_ms is not None and at_ms in _TIMES_MS else None


async def _end_of(snapshots: Snapshots, job_id: str) -> _End | None:
    """Return when a job ended and how long it ran, or None if it is not a recent one."""
    async with aclosing(snapshots.recent()) as entries:
        async for entry in entries:
            # Parsed only if the id is in it: an entry may list hundreds of jobs.
            if job_id.encode() not in entry.fields.get(b"ids", b""):
                continue
            for ended in read_recent(entry.fields):
                if ended.id == job_id:
                    return _End(time_of(entry.entry), ended.ran)
    return None


async def _letter_of(
    store: DeadLetterStore, job_id: str, ended_at: datetime | None
) -> "DeadLetter | None":
    span = Span()
    if ended_at is not None:
        around = (ended_at - COUNTED_WITHIN, ended_at + COUNTED_WITHIN)
        span = Span(*(str(int(at.timestamp() * 1000)) for at in around))
    return await store.newest_of_job(job_id, span, MOST_LETTERS)
