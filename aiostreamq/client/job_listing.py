"""The jobs of a queue, listed by state, and what is known about one of them."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.client.ended_job_info import enqueued_at, look_at_ended
from aiostreamq.client.listed_jobs import (
    WAITING_STATES,
    of_entry,
    of_hash,
    of_held,
    of_letter,
    with_pause,
)
from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import JobNotFound, UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.info import JobInfo, time_of
from aiostreamq.model.job_state import JobState, states_of
from aiostreamq.model.metadata import MetadataFilter
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.stats import read_recent
from aiostreamq.model.time import moment
from aiostreamq.store.dead_letters import DeadLetterStore, Span
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.results import Results

if TYPE_CHECKING:
    from aiostreamq.client.listed_jobs import SpecOf
    from aiostreamq.client.protocols import OpenSession
    from aiostreamq.client.task_argument import Named
    from aiostreamq.store.queue import QueueStore

Jobs = AsyncGenerator[JobInfo, None]

# The states of jobs that have not ended, in the order of the listing.
_LIVE = (
    JobState.RUNNING,
    JobState.QUEUED,
    JobState.DELAYED,
    JobState.HELD,
    JobState.PARKED,
)

# The states of ended jobs that leave a dead letter.
_WITH_LETTER = {JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD}


async def list_jobs(
    session_of: "Callable[[], OpenSession]",
    state: "JobState | str | Collection[JobState | str] | None",
    task: "Named | str | None",
    since: "Duration | datetime | None",
    metadata: MetadataFilter,
    spec_of: "SpecOf",
) -> Jobs:
    """Iterate over the jobs of a queue; see `QueueClient.jobs`."""
    states = _states(state)
    name = None if task is None else name_of(task)
    store = session_of().store
    snapshots = Snapshots(store)
    start_ms = await _start_ms(snapshots, since)
    paused: Mapping[str, int] = await snapshots.paused() if states & WAITING_STATES else {}
    for jobs in _sources(store, snapshots, states, start_ms, by_letters=not metadata.is_open):
        async with aclosing(jobs):
            async for job in jobs:
                is_early = job.state_since is not None and job.state_since < moment(start_ms)
                is_wanted = (name is None or job.task == name) and metadata.matches(job)
                if not is_early and is_wanted:
                    dated = replace(job, enqueued_at=enqueued_at(job.id))
                    yield with_pause(dated, paused, spec_of)


def _states(state: "JobState | str | Collection[JobState | str] | None") -> set[JobState]:
    if state is None:
        return set(JobState)
    return set(states_of(state))


async def _start_ms(snapshots: Snapshots, since: "Duration | datetime | None") -> int:
    if since is None:
        return 0
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise UsageError(f"since={since!r} has no time zone: use datetime.now(UTC) or the like")
        return max(0, int(since.timestamp() * 1000))
    return max(0, await snapshots.now_ms() - int(seconds("since", since) * 1000))


def _sources(
    store: "QueueStore",
    snapshots: Snapshots,
    states: set[JobState],
    start_ms: int,
    *,
    by_letters: bool,
) -> Iterable[Jobs]:
    """Yield an iterator over the jobs of each place that holds jobs in *states*.

    With *by_letters*, ended jobs come from their dead letters alone, which have headers and tags.
    """
    lanes = store.stream_names
    if JobState.RUNNING in states:
        for lane in lanes:
            yield _running(snapshots, lane, store.keys.stream(lane))
    if JobState.QUEUED in states:
        for lane in lanes:
            yield _queued(snapshots, lane, store.keys.stream(lane))
    if JobState.DELAYED in states:
        yield _delayed(snapshots)
    if JobState.HELD in states:
        yield _held(snapshots)
    if JobState.PARKED in states:
        yield _parked(store, snapshots)
    in_letters = states & (_WITH_LETTER if by_letters else {JobState.DEAD})
    ended = states - {*_LIVE, JobState.DEAD}
    if ended and not by_letters:
        yield _ended(store, snapshots, ended, start_ms)
    if in_letters:
        yield _dead(store, in_letters, start_ms)


async def _running(snapshots: Snapshots, lane: str, stream: str) -> Jobs:
    now_ms = await snapshots.now_ms()
    async with aclosing(snapshots.pending(stream)) as deliveries:
        async for pending, entry in deliveries:
            since = moment(now_ms - pending.idle_ms)
            yield of_entry(entry, JobState.RUNNING, lane, since, pending.worker)


async def _queued(snapshots: Snapshots, lane: str, stream: str) -> Jobs:
    async with aclosing(snapshots.waiting(stream)) as entries:
        async for entry in entries:
            yield of_entry(entry, JobState.QUEUED, lane, time_of(entry.entry))


async def _delayed(snapshots: Snapshots) -> Jobs:
    async with aclosing(snapshots.delayed()) as delayed:
        async for job_id, due_ms, fields in delayed:
            yield of_hash(job_id, due_ms, fields)


async def _held(snapshots: Snapshots) -> Jobs:
    async with aclosing(snapshots.held()) as held:
        async for job_id, fields in held:
            yield of_held(job_id, fields)


async def _parked(store: "QueueStore", snapshots: Snapshots) -> Jobs:
    for task in await snapshots.parked_tasks():
        async with aclosing(snapshots.entries(store.keys.parked_for(task), "0")) as entries:
            async for entry in entries:
                yield of_entry(entry, JobState.PARKED, "", time_of(entry.entry))


async def _ended(
    store: "QueueStore", snapshots: Snapshots, states: set[JobState], start_ms: int
) -> Jobs:
    recent = snapshots.entries(store.keys.recent, str(start_ms), newest_first=True)
    async with aclosing(recent) as entries:
        async for entry in entries:
            for ended in read_recent(entry.fields):
                if ended.state in states:
                    since = time_of(entry.entry)
                    yield JobInfo(ended.id, ended.task, ended.state, since, run_seconds=ended.ran)


async def _dead(store: "QueueStore", states: set[JobState], start_ms: int) -> Jobs:
    span = Span(oldest=f"{start_ms}-0")
    async with aclosing(DeadLetterStore(store).newest_first(span)) as pages:
        async for page in pages:
            for letter in page:
                if letter.state in states:
                    yield of_letter(letter)


async def look_at_job(store: "QueueStore", job_id: str, spec_of: "SpecOf") -> JobInfo:
    """Return what is known about one job; see `Job.info`."""
    found = await Results(store).job_state(job_id)
    if found is None:
        raise JobNotFound(job_id=job_id)
    if found.startswith(b"{"):
        return await look_at_ended(store, job_id, found)
    snapshots = Snapshots(store)
    fields = await snapshots.job(job_id)
    job = await _where_it_is(store, snapshots, job_id, JobState(found.decode()), fields)
    job = replace(job, enqueued_at=enqueued_at(job_id))
    if job.state not in WAITING_STATES:
        return job
    from aiostreamq.client.job_waits import Waits  # imported at the first use

    job = replace(job, wait=await Waits(store).of_job(job, fields))
    return with_pause(job, await snapshots.paused(), spec_of)


async def _where_it_is(
    store: "QueueStore",
    snapshots: Snapshots,
    job_id: str,
    state: JobState,
    fields: Mapping[bytes, bytes],
) -> JobInfo:
    if state is JobState.DELAYED:
        due_ms = await snapshots.due_ms(job_id)
        if due_ms is not None:
            holders = await _holders(store, snapshots, job_id, fields)
            return replace(of_hash(job_id, due_ms, fields), waits_for=holders)
    if state is JobState.HELD and fields.get(b"s") == b"held":
        return of_held(job_id, fields)
    if state is JobState.PARKED:
        at, _, task = fields.get(b"q", b"").decode().partition(" ")
        entry = await snapshots.entry(store.keys.parked_for(task), at) if at else None
        if entry is not None:
            return of_entry(entry, JobState.PARKED, "", time_of(at))
    if state in {JobState.QUEUED, JobState.RUNNING} and b"e" in fields:
        lane = fields.get(b"s", DEFAULT_LANE.encode()).decode()
        stream, at = store.keys.stream(lane), fields[b"e"].decode()
        entry, owner = await snapshots.entry(stream, at), await snapshots.owner(stream, at)
        if entry is not None and owner is not None:
            since = moment(await snapshots.now_ms() - owner.idle_ms)
            return of_entry(entry, JobState.RUNNING, lane, since, owner.worker)
        if entry is not None:
            return of_entry(entry, JobState.QUEUED, lane, time_of(at))
    # It has ended without a result, or changed its state between two commands.
    return JobInfo(job_id, "", state, None)


async def _holders(
    store: "QueueStore", snapshots: Snapshots, job_id: str, fields: Mapping[bytes, bytes]
) -> tuple[str, ...]:
    """Return the id of the job that has the key for which a job waits, if one has it."""
    digest = fields.get(b"y", b"").partition(b" ")[0]
    holder = await snapshots.key_holder(digest) if digest else None
    if holder is None or holder == job_id:
        return ()
    state = await Results(store).job_state(holder)  # one that has ended may still be noted
    return (holder,) if state is not None and state.decode() in _LIVE else ()
