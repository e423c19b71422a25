"""What is seen of a queue by those who look: `queue.info`, `queue.workers`, `queue.jobs`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import orjson

from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.lease import is_dead
from aiostreamq.model.outcome import JobState
from aiostreamq.model.pauses import Pause
from aiostreamq.model.values.masking import lists_secrets, masked
from aiostreamq.model.worker_state import WorkerState


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, in seconds; right to about a fifth."""

    count: int  #: of how many jobs this is told
    p50: float  #: half of them took no longer
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class LaneInfo:
    """One lane, or another stream that jobs wait in.

    "returned" is work that was handed back; it is read first. "overflow:thread" and
    "overflow:process" are jobs of `def` tasks that a worker had no thread or process free for,
    "overflow:slot" are jobs that would await others while a worker had only lent slots free;
    they are told of only if there are any.
    """

    name: str
    waiting: int  #: jobs that no worker has yet
    running: int  #: jobs that a worker has, those included that it has fetched ahead
    oldest_age: float | None  #: seconds that the first one waits; None where none does


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One task: its jobs as they stand, and those that ended within the window."""

    name: str
    waiting: int
    running: int
    delayed: int
    parked: int
    dead: int  #: letters among the dead
    is_estimate: bool  #: those numbers, but `parked`, are reckoned from a sample
    ended: Mapping[JobState, int]  #: jobs that ended within the window
    rate: float  #: how many that are a second
    run_latency: Latency | None  #: how long those ran; None where none did
    wait_latency: Latency | None  #: how long they had waited in a lane before


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue at one moment."""

    name: str
    at: datetime  #: when, by Redis's clock, in UTC
    waiting: int  #: jobs in all lanes that no worker has yet
    running: int  #: jobs that a worker has
    delayed: int  #: jobs for later, next attempts included
    parked: int  #: jobs that wait for a worker that knows their task
    dead: int  #: dead letters
    oldest_age: float | None  #: seconds that the first of the waiting waits; None where none does
    next_due: datetime | None  #: when the first of the delayed is due, in UTC
    paused: tuple[Pause, ...]  #: tasks and lanes that wait until they are resumed
    window: float  #: seconds that rates and latencies are about
    rate: float  #: jobs that ended a second
    lanes: tuple[LaneInfo, ...]
    tasks: tuple[TaskInfo, ...]  #: by name


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job as its worker tells of it."""

    id: str
    task: str
    attempt: int
    age: float  #: seconds that it runs


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as it told of itself with its last beat.

    Of one that has told nothing, as those of older releases do, only the name is known.
    """

    name: str
    is_lost: bool  #: it was taken for dead, and its jobs are being recovered
    state: WorkerState | None
    host: str
    pid: int
    version: str  #: of aiostreamq
    concurrency: int
    lanes: tuple[str, ...]
    tasks: tuple[str, ...]  #: that it knows
    started_at: datetime | None  #: in UTC
    last_seen_seconds: float | None  #: seconds since it told this
    running: int  #: jobs that it ran
    jobs: tuple[RunningJob, ...]  #: those jobs, oldest first; the first hundred of them
    paused: tuple[Pause, ...] = ()  #: what is paused of its tasks and lanes
    stuck_threads: int = 0  #: that run on in jobs which were given up


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it stands. What is not known of it is None, or empty."""

    id: str
    task: str
    state: JobState
    state_since: datetime | None  #: when it came into this state, in UTC
    lane: str = ""
    worker: str = ""  #: name of the worker that has it, or had it last
    due: datetime | None = None  #: when it is due, of a delayed one, in UTC
    attempt: int = 1
    delivery: int = 0
    run_seconds: float | None = None  #: seconds that it ran, about, of one that ended
    error: str = ""  #: type and message of what it ended with
    #: as plain JSON, secrets masked; None once it has ended, unless a dead letter has them
    args: list[object] | None = None
    kwargs: dict[str, object] | None = None
    is_paused: bool = False  #: it waits, and its task or its lane is paused
    enqueued_at: datetime | None = None  #: by the producer's clock; None if the id is the caller's
    # Only of `job.info()`:
    traceback: str = ""  #: of the task's own frames, if it failed
    started_at: datetime | None = None  #: when its last run began, about, of one that ended lately
    ended_at: datetime | None = None  #: of one that ended lately, or has a dead letter
    dead_letter: str = (
        ""  #: id of its dead letter, for `queue.dead_letters`; empty if there is none
    )


def moment(ms: float) -> datetime:
    """The time that is *ms* milliseconds after 1970."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def time_of(entry: str) -> datetime:
    """When a stream entry was added."""
    return moment(int(entry.partition("-")[0]))


def call_of(envelope: bytes) -> tuple[str, list[object] | None, dict[str, object] | None]:
    """The task and the arguments of a call, secrets masked, as far as they can be read."""
    try:
        told = decode_envelope(envelope)
        if lists_secrets(envelope):
            told = decode_envelope(masked(envelope))
    except Malformed:
        return "", None, None
    return told.task, told.args, told.kwargs


def parse_worker(name: str, beat: str, about: bytes | None, now_ms: int) -> WorkerInfo:
    """What is known of a worker.

    Args:
        name: Its name.
        beat: Its field among the workers.
        about: What it told of itself, if it did.
        now_ms: Redis's time.
    """
    try:
        told = cast("dict[str, object]", orjson.loads(about or b"{}"))
        return _worker(name, beat, told, now_ms)
    except (ValueError, TypeError, KeyError, AttributeError):
        return _worker(name, beat, {}, now_ms)


def _worker(name: str, beat: str, told: Mapping[str, object], now_ms: int) -> WorkerInfo:
    at = cast("int | None", told.get("at"))
    silence = 0.0 if at is None else max(0.0, (now_ms - at) / 1000)
    started = cast("int | None", told.get("started"))
    state = cast("str | None", told.get("state"))
    jobs = cast("list[tuple[str, str, int, int]]", told.get("jobs", []))
    return WorkerInfo(
        name=name,
        is_lost=is_dead(beat),
        state=None if state is None else WorkerState(state),
        host=str(told.get("host", "")),
        pid=int(cast("int", told.get("pid", 0))),
        version=str(told.get("version", "")),
        concurrency=int(cast("int", told.get("concurrency", 0))),
        lanes=tuple(cast("list[str]", told.get("lanes", []))),
        tasks=tuple(cast("list[str]", told.get("tasks", []))),
        started_at=None if started is None else moment(started),
        last_seen_seconds=None if at is None else silence,
        running=int(cast("int", told.get("running", 0))),
        jobs=tuple(
            RunningJob(job_id, task, attempt, age_ms / 1000 + silence)
            for job_id, task, attempt, age_ms in jobs
        ),
        stuck_threads=int(cast("int", told.get("stuck", 0))),
    )
