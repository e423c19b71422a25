"""Looking into a queue: how it stands, who works on it, which jobs there are."""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.errors import JobError, JobNotFound, UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import RETURNED
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import (
    UNREADABLE,
    JobState,
    Outcome,
    Unreadable,
    decode_outcome,
)
from aiostreamq.model.pause import pauses_of
from aiostreamq.model.sight import (
    JobInfo,
    LaneInfo,
    Latency,
    QueueInfo,
    TaskInfo,
    WorkerInfo,
    call_of,
    moment,
    parse_worker,
    time_of,
)
from aiostreamq.model.tally import STATS_MINUTES, Ends, percentile, read_recent, read_stats
from aiostreamq.store.graveyard import Graveyard, Span
from aiostreamq.store.lookout import Lookout
from aiostreamq.store.steering import Steering

if TYPE_CHECKING:
    from aiostreamq.client.task import Task
    from aiostreamq.store.broker import Broker
    from aiostreamq.store.lookout import Fields, LaneView, View

Jobs = AsyncGenerator[JobInfo, None]

# Those that have not ended, in the order in which they are listed.
_LIVE = (JobState.RUNNING, JobState.QUEUED, JobState.DELAYED, JobState.PARKED)

_MINUTE_MS = 60_000


async def look(broker: "Broker", window: Duration) -> QueueInfo:
    """How a queue stands; see `Producer.info`."""
    span = seconds("window", window)
    if not 1 <= span <= (STATS_MINUTES - 1) * 60:
        raise UsageError(f"window={window!r}: use 1 second to {STATS_MINUTES - 1} minutes")
    lookout = Lookout(broker)
    view = await lookout.view()
    # Whole minutes: those that the window has begun in, and what there is of this one.
    first = (view.now_ms - int(span * 1000)) // _MINUTE_MS
    minutes = range(first, view.now_ms // _MINUTE_MS + 1)
    ends = read_stats(await lookout.stats(minutes))
    counted = (view.now_ms - first * _MINUTE_MS) / 1000
    lanes = tuple(_lane(lane, view.now_ms) for lane in view.lanes)
    _, paused = await Steering(broker).paused()
    return QueueInfo(
        name=broker.keys.queue,
        at=moment(view.now_ms),
        waiting=sum(lane.waiting for lane in lanes),
        running=sum(lane.running for lane in lanes),
        delayed=view.delayed,
        parked=sum(view.parked_tasks.values()),
        dead=view.dead,
        oldest=max((lane.oldest for lane in lanes if lane.oldest is not None), default=None),
        next_due=None if view.due_ms < 0 else moment(view.due_ms),
        paused=tuple(pauses_of(paused)),
        window=counted,
        rate=sum(one.states.total() for one in ends.values()) / counted,
        lanes=lanes,
        tasks=tuple(_tasks(view, ends, counted)),
    )


def _lane(lane: "LaneView", now_ms: int) -> LaneInfo:
    oldest = None
    if lane.oldest:
        oldest = max(0.0, (now_ms - int(lane.oldest.partition("-")[0])) / 1000)
    return LaneInfo(lane.name, lane.waiting, lane.running, oldest)


def _tasks(view: "View", ends: Mapping[str, Ends], counted: float) -> Iterable[TaskInfo]:
    waiting = _Reckoning((lane.waiting, lane.waiting_tasks) for lane in view.lanes)
    running = _Reckoning((lane.running, lane.running_tasks) for lane in view.lanes)
    delayed = _Reckoning([(view.delayed, view.delayed_tasks)])
    dead = _Reckoning([(view.dead, view.dead_tasks)])
    all_counts = (waiting, running, delayed, dead)
    named = set[str](view.parked_tasks).union(ends, *(one.counts for one in all_counts))
    for name in sorted(named - {""}):
        end = ends.get(name) or Ends()
        yield TaskInfo(
            name=name,
            waiting=round(waiting.counts[name]),
            running=round(running.counts[name]),
            delayed=round(delayed.counts[name]),
            parked=view.parked_tasks.get(name, 0),
            dead=round(dead.counts[name]),
            is_estimate=any(one.is_estimate for one in all_counts),
            ended=dict(end.states),
            rate=end.states.total() / counted,
            ran=_latency(end.ran),
            waited=_latency(end.waited),
        )


class _Reckoning:
    """How many jobs there are of each task, by samples of some wholes."""

    def __init__(self, samples: Iterable[tuple[int, Mapping[str, int]]]) -> None:
        self.counts: Counter[str] = Counter()
        self.is_estimate = False
        for whole, sample in samples:
            seen = sum(sample.values())
            self.is_estimate |= whole > seen
            for name, count in sample.items():
                self.counts[name] += count * whole / seen  # pyright: ignore[reportArgumentType]  # parts of jobs, until they are rounded


def _latency(buckets: Mapping[int, int]) -> Latency | None:
    if not buckets:
        return None
    p50, p95, p99 = (percentile(buckets, share) for share in (0.5, 0.95, 0.99))
    return Latency(sum(buckets.values()), p50, p95, p99)


async def look_at_workers(broker: "Broker") -> list[WorkerInfo]:
    """Who works on a queue; see `Producer.workers`."""
    lookout = Lookout(broker)
    now_ms = await lookout.now_ms()
    told = await lookout.workers()
    return sorted(
        (parse_worker(name, beat, about, now_ms) for name, beat, about in told),
        key=lambda worker: worker.name,
    )


async def look_at_jobs(
    broker: "Broker",
    state: "JobState | str | Collection[JobState | str] | None",
    task: "Task[..., object] | str | None",
    since: "Duration | datetime | None",
) -> Jobs:
    """Which jobs there are; see `Producer.jobs`."""
    states = _states(state)
    name = task if task is None or isinstance(task, str) else task.name
    lookout = Lookout(broker)
    start_ms = await _start_ms(lookout, since)
    for jobs in _ways(broker, lookout, states, start_ms):
        async with aclosing(jobs):
            async for job in jobs:
                is_early = job.since is not None and job.since < moment(start_ms)
                if not is_early and (name is None or job.task == name):
                    yield job


def _states(state: "JobState | str | Collection[JobState | str] | None") -> set[JobState]:
    if state is None:
        return set(JobState)
    told: Collection[JobState | str] = (state,) if isinstance(state, str) else state
    try:
        return set(map(JobState, told))
    except ValueError as error:
        raise UsageError(f"state={state!r}: use some of {', '.join(JobState)}") from error


async def _start_ms(lookout: Lookout, since: "Duration | datetime | None") -> int:
    if since is None:
        return 0
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise UsageError(
                f"since={since!r} says no time zone: use datetime.now(UTC) or the like"
            )
        return max(0, int(since.timestamp() * 1000))
    return max(0, await lookout.now_ms() - int(seconds("since", since) * 1000))


def _ways(
    broker: "Broker", lookout: Lookout, states: set[JobState], start_ms: int
) -> Iterable[Jobs]:
    """Where the jobs of some states are found."""
    lanes = (RETURNED, *broker.lanes)
    if JobState.RUNNING in states:
        for lane in lanes:
            yield _running(lookout, lane, broker.keys.stream(lane))
    if JobState.QUEUED in states:
        for lane in lanes:
            yield _queued(lookout, lane, broker.keys.stream(lane))
    if JobState.DELAYED in states:
        yield _delayed(lookout)
    if JobState.PARKED in states:
        yield _parked(broker, lookout)
    ended = states - {*_LIVE, JobState.DEAD}
    if ended:
        yield _ended(broker, lookout, ended, start_ms)
    if JobState.DEAD in states:
        yield _dead(broker, start_ms)


async def _running(lookout: Lookout, lane: str, stream: str) -> Jobs:
    now_ms = await lookout.now_ms()
    async with aclosing(lookout.pending(stream)) as deliveries:
        async for pending, entry in deliveries:
            since = moment(now_ms - pending.idle_ms)
            yield _of_entry(entry, JobState.RUNNING, lane, since, pending.worker)


async def _queued(lookout: Lookout, lane: str, stream: str) -> Jobs:
    after = await lookout.last_delivered(stream)
    async with aclosing(lookout.entries(stream, after)) as entries:
        async for entry in entries:
            yield _of_entry(entry, JobState.QUEUED, lane, time_of(entry.entry))


async def _delayed(lookout: Lookout) -> Jobs:
    async with aclosing(lookout.delayed()) as delayed:
        async for job_id, due_ms, fields in delayed:
            yield _of_hash(job_id, due_ms, fields)


async def _parked(broker: "Broker", lookout: Lookout) -> Jobs:
    for task in await lookout.parked_tasks():
        async with aclosing(lookout.entries(broker.keys.parked_for(task), "0")) as entries:
            async for entry in entries:
                yield _of_entry(entry, JobState.PARKED, "", time_of(entry.entry))


async def _ended(broker: "Broker", lookout: Lookout, states: set[JobState], start_ms: int) -> Jobs:
    recent = lookout.entries(broker.keys.recent, str(start_ms), newest_first=True)
    async with aclosing(recent) as entries:
        async for entry in entries:
            for ended in read_recent(entry.fields):
                if ended.state in states:
                    since = time_of(entry.entry)
                    yield JobInfo(ended.id, ended.task, ended.state, since, ran=ended.ran)


async def _dead(broker: "Broker", start_ms: int) -> Jobs:
    span = Span(oldest=f"{start_ms}-0")
    async with aclosing(Graveyard(broker).newest_first(span)) as pages:
        async for page in pages:
            for letter in page:
                if letter.state is JobState.DEAD:
                    yield JobInfo(
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
                    )


async def look_at_job(broker: "Broker", job_id: str) -> JobInfo:
    """How one job stands; see `Job.info`."""
    found = await broker.status(job_id)
    if found is None:
        raise JobNotFound(job_id=job_id)
    if found.startswith(b"{"):
        return _of_outcome(job_id, found)
    lookout, state = Lookout(broker), JobState(found.decode())
    fields = await lookout.job(job_id)
    if state is JobState.DELAYED:
        due_ms = await lookout.due_ms(job_id)
        if due_ms is not None:
            return _of_hash(job_id, due_ms, fields)
    if state is JobState.PARKED:
        at, _, task = fields.get(b"q", b"").decode().partition(" ")
        entry = await lookout.entry(broker.keys.parked_for(task), at) if at else None
        if entry is not None:
            return _of_entry(entry, JobState.PARKED, "", time_of(at))
    if state in {JobState.QUEUED, JobState.RUNNING} and b"e" in fields:
        lane = fields.get(b"s", DEFAULT_LANE.encode()).decode()
        stream, at = broker.keys.stream(lane), fields[b"e"].decode()
        entry, owner = await lookout.entry(stream, at), await lookout.owner(stream, at)
        if entry is not None and owner is not None:
            since = moment(await lookout.now_ms() - owner.idle_ms)
            return _of_entry(entry, JobState.RUNNING, lane, since, owner.worker)
        if entry is not None:
            return _of_entry(entry, JobState.QUEUED, lane, time_of(at))
    # Ended without a result, or gone on to something else between two questions.
    return JobInfo(job_id, "", state, None)


def _of_outcome(job_id: str, told: bytes) -> JobInfo:
    try:
        outcome: Outcome = decode_outcome(told)
    except Unreadable as error:
        raise JobError(UNREADABLE, job_id=job_id) from error
    failure = outcome.failure
    error = f"{failure.type}: {failure.message}" if failure else ""
    return JobInfo(job_id, outcome.task, outcome.state, None, error=error)


def _of_entry(
    entry: "Fields", state: JobState, lane: str, since: datetime, worker: str = ""
) -> JobInfo:
    fields = entry.fields
    task, args, kwargs = call_of(fields.get(b"job", b""))
    return JobInfo(
        fields.get(b"id", b"").decode(errors="replace"),
        task,
        state,
        since,
        lane,
        worker,
        attempt=_number(fields.get(b"a"), 1),
        delivery=_number(fields.get(b"n"), 0),
        args=args,
        kwargs=kwargs,
    )


def _of_hash(job_id: str, due_ms: int, fields: Mapping[bytes, bytes]) -> JobInfo:
    task, args, kwargs = call_of(fields.get(b"p", b""))
    return JobInfo(
        job_id,
        task,
        JobState.DELAYED,
        None,
        fields.get(b"s", DEFAULT_LANE.encode()).decode(errors="replace"),
        due=moment(due_ms),
        attempt=_number(fields.get(b"a"), 1),
        delivery=_number(fields.get(b"n"), 0),
        args=args,
        kwargs=kwargs,
    )


def _number(written: bytes | None, default: int) -> int:
    return int(written) if written and written.isdigit() else default
