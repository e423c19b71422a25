"""Jobs as they are listed: made from entries of streams, from hashes and from dead letters."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.model.backlog_names import held_job, lane_of_backlog
from aiostreamq.model.info import JobInfo, call_of
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import RESERVED
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.pauses import has_pause
from aiostreamq.model.stored import number
from aiostreamq.model.time import moment

if TYPE_CHECKING:
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.inspect.views import Fields

    SpecOf = Callable[[str], TaskSpec | None]  # finds the spec of a task that is registered here

#: The states to which a pause applies: running jobs continue.
WAITING_STATES = frozenset({JobState.QUEUED, JobState.DELAYED, JobState.HELD, JobState.PARKED})


def with_pause(job: JobInfo, paused: Mapping[str, int], spec_of: "SpecOf") -> JobInfo:
    """Return *job*, marked if a pause makes it wait."""
    if not paused or job.state not in WAITING_STATES:
        return job
    lane = job.lane
    if lane in RESERVED:  # workers put such a job back into the lane of its task
        spec = spec_of(job.task)
        lane = None if spec is None else spec.options.lane
    return replace(job, is_paused=True) if has_pause(paused, job.task, lane) else job


def of_entry(
    entry: "Fields", state: JobState, lane: str, since: datetime, worker: str = ""
) -> JobInfo:
    """Return the job of an entry of a stream."""
    fields = entry.fields
    call = call_of(fields.get(b"job", b""))
    return JobInfo(
        fields.get(b"id", b"").decode(errors="replace"),
        call.task,
        state,
        since,
        lane,
        worker,
        attempt=number(fields.get(b"a"), 1),
        delivery=number(fields.get(b"n"), 0),
        args=call.args,
        kwargs=call.kwargs,
        headers=call.metadata.headers,
        tags=call.metadata.tags,
        callbacks=call.metadata.callbacks.tasks,
        parent=call.metadata.parent,
        unique=None if call.metadata.key is None else call.metadata.key.until,
    )


def of_hash(job_id: str, due_ms: int, fields: Mapping[bytes, bytes]) -> JobInfo:
    """Return a delayed job, given its hash and when it is due."""
    lane = fields.get(b"s", DEFAULT_LANE.encode()).decode(errors="replace")
    job = _of_envelope(job_id, JobState.DELAYED, lane, fields)
    return replace(job, due=moment(due_ms))


def of_held(job_id: str, fields: Mapping[bytes, bytes]) -> JobInfo:
    """Return a held job, given its hash."""
    held = held_job(job_id, fields)
    job = _of_envelope(job_id, JobState.HELD, lane_of_backlog(held.backlog), fields)
    return replace(job, state_since=moment(held.since_ms)) if held.place else job


def _of_envelope(job_id: str, state: JobState, lane: str, fields: Mapping[bytes, bytes]) -> JobInfo:
    call = call_of(fields.get(b"p", b""))
    return JobInfo(
        job_id,
        call.task,
        state,
        None,
        lane,
        attempt=number(fields.get(b"a"), 1),
        delivery=number(fields.get(b"n"), 0),
        args=call.args,
        kwargs=call.kwargs,
        headers=call.metadata.headers,
        tags=call.metadata.tags,
        callbacks=call.metadata.callbacks.tasks,
        parent=call.metadata.parent,
        unique=None if call.metadata.key is None else call.metadata.key.until,
        # One that waits for its key remembers calls too, and so does one that has run.
        is_debounced=b"f" in fields and fields.keys().isdisjoint((b"y", b"a")),
    )


def of_letter(letter: "DeadLetter") -> JobInfo:
    """Return the job of a dead letter."""
    return JobInfo(
        letter.job_id,
        letter.task,
        letter.state,
        letter.died_at,
        letter.lane,
        letter.worker,
        attempt=letter.attempt,
        delivery=letter.deliveries,
        error=f"{letter.error}: {letter.message}",
        args=letter.args,
        kwargs=None if letter.args is None else letter.kwargs,
        headers=letter.headers,
        tags=letter.tags,
        callbacks=letter.callbacks,
        parent=letter.parent,
    )
