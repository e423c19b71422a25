"""The values that `queue.info`, `queue.workers` and `queue.jobs` return."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import NamedTuple, cast

import orjson

from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.job_state import JobState
from aiostreamq.model.limit_reports import JobWait, shown_rule
from aiostreamq.model.metadata import Metadata
from aiostreamq.model.pauses import Pause
from aiostreamq.model.record import record
from aiostreamq.model.time import moment
from aiostreamq.model.values.masking import lists_secrets, masked
from aiostreamq.model.worker_liveness import is_dead
from aiostreamq.model.worker_state import WorkerState


@record
class Latency:
    """How long something took, in seconds; accurate to about a fifth."""

    count: int  #: number of jobs measured
    p50: float  #: half of them took no longer
    p95: float
    p99: float


@record
class LaneInfo:
    """One lane, or another stream that jobs wait in.

    "returned" holds jobs that were requeued; it is read first. "overflow:thread" and
    "overflow:process" hold jobs of `def` tasks for which a worker had no thread or process free.
    "overflow:slot" holds jobs that await other jobs, which came when a worker had only lent slots
    free. Overflow streams are listed only if they hold jobs.
    """

    name: str
    waiting: int  #: jobs that no worker has yet
    running: int  #: jobs that a worker has, prefetched ones included
    oldest_age: float | None  #: seconds that the oldest has waited; None if none waits
    held: int = 0  #: jobs that will come from this lane once their limits have room


@record
class TaskInfo:
    """One task: its open jobs, and those that ended within the window."""

    name: str
    waiting: int
    running: int
    delayed: int
    parked: int
    dead: int  #: dead letters
    is_estimate: bool  #: whether the numbers above, except `parked`, come from a sample
    ended: Mapping[JobState, int]  #: jobs that ended within the window
    rate: float  #: jobs that ended per second
    run_latency: Latency | None  #: how long they ran; None if none ran
    wait_latency: Latency | None  #: how long they had waited in a lane before
    held: int = 0  #: jobs that wait for their limits; may be estimated too


@record
class QueueInfo:
    """A snapshot of a queue."""

    name: str
    at: datetime  #: the time of the snapshot by Redis's clock, in UTC
    waiting: int  #: jobs in all lanes that no worker has yet; without those that are held
    running: int  #: jobs that a worker has
    delayed: int  #: jobs for later, next attempts included
    parked: int  #: jobs that wait for a worker that knows their task
    dead: int  #: dead letters
    oldest_age: float | None  #: seconds that the oldest has waited; None if none waits
    next_due: datetime | None  #: when the next delayed job is due, in UTC
    paused: tuple[Pause, ...]  #: paused tasks and lanes
    window: float  #: seconds that rates and latencies cover
    rate: float  #: jobs that ended per second
    lanes: tuple[LaneInfo, ...]
    tasks: tuple[TaskInfo, ...]  #: by name
    held: int = 0  #: jobs of tasks with limits, which wait until these have room
    #: those of them whose limits may have room now, about: more workers would start `waiting` and
    #: these, and none of the other held jobs
    admittable: int = 0


@record
class RunningJob:
    """A running job as its worker reports it."""

    id: str
    task: str
    attempt: int
    age: float  #: seconds since it began to run


@record
class WorkerInfo:
    """A worker as it described itself with its last heartbeat.

    If it sent no description, as in older releases, only its name is known.
    """

    name: str
    is_lost: bool  #: whether it is considered dead, and its jobs are being recovered
    state: WorkerState | None
    host: str
    pid: int
    version: str  #: its version of aiostreamq
    concurrency: int
    lanes: tuple[str, ...]
    tasks: tuple[str, ...]  #: tasks that it knows
    started_at: datetime | None  #: in UTC
    last_seen_seconds: float | None  #: seconds since it sent this
    running: int  #: number of running jobs
    jobs: tuple[RunningJob, ...]  #: running jobs, oldest first, at most a hundred
    paused: tuple[Pause, ...] = ()  #: those of its tasks and lanes that are paused
    stuck_threads: int = 0  #: threads that still run jobs which were given up
    #: number of jobs that it has and does not run: they wait for a slot, a thread or a process, or
    #: Redis refuses their end
    held: int = 0
    held_jobs: tuple[str, ...] = ()  #: ids of those that wait to start, at most five hundred
    #: the rules of limits in its code, by the names of the limits
    limits: Mapping[str, str] = field(default_factory=dict[str, str])


@record
class JobInfo:
    """The current state of a job. Unknown fields are None or empty."""

    id: str
    task: str
    state: JobState
    state_since: datetime | None  #: when it entered this state, in UTC
    lane: str = ""
    worker: str = ""  #: name of the worker that has it, or had it last
    due: datetime | None = None  #: when a delayed job is due, in UTC
    attempt: int = 1  #: number of this attempt, of a job that waits that of the next
    delivery: int = 0  #: number of this delivery to a worker, likewise; 0 if that is unknown
    run_seconds: float | None = None  #: how long it ran, approximately, once it has ended
    error: str = ""  #: type and message of the exception it ended with
    #: as plain JSON, secrets masked; None once it has ended, unless a dead letter has them
    args: list[object] | None = None
    kwargs: dict[str, object] | None = None
    is_paused: bool = False  #: whether it waits because its task or its lane is paused
    enqueued_at: datetime | None = None  #: by the producer's clock; None if the caller chose the id
    #: empty once it has ended, unless a dead letter has them
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()  #: likewise
    #: the tasks of its callbacks by option, `on_success` and `on_failure`; likewise
    callbacks: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None  #: id of the job whose callback it is; likewise
    #: until when an open job holds its key: "done" or "started"; None if it has none, or a window
    unique: str | None = None
    #: whether it waits for further calls of its key, until `due` if none comes
    is_debounced: bool = False
    # Set only by `job.info()`:
    waits_for: tuple[str, ...] = ()  #: ids of the jobs whose end it waits for, as for its key
    #: why it does not start yet; None if it runs, has ended, or waits for its time
    wait: JobWait | None = None
    traceback: str = ""  #: the task's own frames, if it failed
    started_at: datetime | None = None  #: when its last run began, about, if it ended lately
    ended_at: datetime | None = None  #: if it ended lately, or has a dead letter
    result: object = None  #: what the task returned, as plain JSON, if it is done and this is kept
    dead_letter: str = (
        ""  #: id of its dead letter, for `queue.dead_letters`; empty if there is none
    )


@record
class JobPage:
    """Some jobs in one state, as `queue.job_page` finds them."""

    jobs: tuple[JobInfo, ...]
    searched: int  #: how many jobs were looked at for this page
    after: str | None  #: for the next page; None if there are no more


@record
class MinuteInfo:
    """The jobs that ended within one minute."""

    at: datetime  #: when the minute began, in UTC
    ended: Mapping[JobState, int]
    run_latency: Latency | None  #: how long they ran; None if none ran
    wait_latency: Latency | None  #: how long they had waited in a lane before


def time_of(entry: str) -> datetime:
    """Return when a stream entry was added."""
    return moment(int(entry.partition("-")[0]))


class ShownCall(NamedTuple):
    """A call as it is shown: with its secrets masked, and empty if it cannot be read."""

    task: str = ""
    args: list[object] | None = None
    kwargs: dict[str, object] | None = None
    metadata: Metadata = Metadata()  # a tuple, which nothing changes


def call_of(envelope: bytes) -> ShownCall:
    """Return the call in an envelope, to be shown."""
    try:
        call = decode_envelope(envelope)
        if lists_secrets(envelope):
            call = decode_envelope(masked(envelope))
    except Malformed:
        return ShownCall()
    return ShownCall(call.task, call.args, call.kwargs, call.metadata or Metadata())


def parse_worker(name: str, beat: str, about: bytes | None, now_ms: int) -> WorkerInfo:
    """Return what is known of a worker.

    Args:
        name: Its name.
        beat: Its value in the registry of workers.
        about: The description that it sent, if any.
        now_ms: Redis's time, in ms since 1970.
    """
    try:
        report = cast("dict[str, object]", orjson.loads(about or b"{}"))
        return _worker(name, beat, report, now_ms)
    except (ValueError, TypeError, KeyError, AttributeError):
        return _worker(name, beat, {}, now_ms)


def _worker(name: str, beat: str, report: Mapping[str, object], now_ms: int) -> WorkerInfo:
    at = cast("int | None", report.get("at"))
    silence = 0.0 if at is None else max(0.0, (now_ms - at) / 1000)
    started = cast("int | None", report.get("started"))
    state = cast("str | None", report.get("state"))
    jobs = cast("list[tuple[str, str, int, int]]", report.get("jobs", []))
    return WorkerInfo(
        name=name,
        is_lost=is_dead(beat),
        state=None if state is None else WorkerState(state),
        host=str(report.get("host", "")),
        pid=int(cast("int", report.get("pid", 0))),
        version=str(report.get("version", "")),
        concurrency=int(cast("int", report.get("concurrency", 0))),
        lanes=tuple(cast("list[str]", report.get("lanes", []))),
        tasks=tuple(cast("list[str]", report.get("tasks", []))),
        started_at=None if started is None else moment(started),
        last_seen_seconds=None if at is None else silence,
        running=int(cast("int", report.get("running", 0))),
        jobs=tuple(
            RunningJob(job_id, task, attempt, age_ms / 1000 + silence)
            for job_id, task, attempt, age_ms in jobs
        ),
        stuck_threads=int(cast("int", report.get("stuck", 0))),
        held=int(cast("int", report.get("held", 0))),
        held_jobs=tuple(cast("list[str]", report.get("held_jobs", []))),
        limits=_limits(cast("dict[str, str]", report.get("limits", {}))),
    )


def _limits(rules: Mapping[str, str]) -> dict[str, str]:
    """Return rules by name, given by token; a name may be that of a concurrency and of a rate."""
    limits: dict[str, str] = {}
    for token, rule in sorted(rules.items()):
        shown, name = shown_rule(token, rule), token[2:]
        limits[name] = f"{limits[name]}, {shown}" if name in limits else shown
    return limits
