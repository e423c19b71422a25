"""Events of jobs, connections and workers, as listeners get them.

One class for each kind of event. Fields may be added later, at the end.
"""

from collections.abc import Callable

from aiostreamq.model.outcome import JobState
from aiostreamq.model.record import record


@record
class JobEnqueued:
    """This process has enqueued a job. A call that finds its id taken does not count."""

    queue: str
    task: str
    job_id: str
    lane: str


@record
class JobDelivered:
    """A worker was sent a job. It starts when a slot is free."""

    queue: str
    worker: str
    job_id: str
    attempt: int  #: from 1
    delivery: int  #: from 1; more than the attempt if the job was returned or recovered


@record
class JobStarted:
    """A worker starts to run a job."""

    queue: str
    worker: str
    task: str
    job_id: str
    attempt: int


@record
class JobEnded:
    """A job has ended, for good. It was not started if it was cancelled before, or expired."""

    queue: str
    worker: str
    task: str
    job_id: str
    attempt: int
    state: JobState
    waited_seconds: float  #: from when it was ready to be run until it started or ended unrun
    ran_seconds: float  #: 0 if it was not started
    error: BaseException | None  #: what it raised, also a Drop or GiveUp


@record
class JobRetried:
    """A run has failed, or was rate limited, and the job will be run again."""

    queue: str
    worker: str
    task: str
    job_id: str
    attempt: int  #: the one that has failed
    after_seconds: float  #: until the next one; for a `RateLimited`, until its limit has room
    ran_seconds: float
    error: BaseException


@record
class JobHandedBack:
    """A run was cut short because its worker stops. Another worker will run the job again."""

    queue: str
    worker: str
    task: str
    job_id: str
    attempt: int


@record
class JobParked:
    """A job waits for a worker that knows its task, or for its task to be resumed."""

    queue: str
    worker: str
    task: str
    job_id: str


@record
class OutcomeRefused:
    """Redis refused the outcome of a job: its worker had been taken for dead."""

    queue: str
    worker: str
    job_id: str
    attempt: int


@record
class JobsRecovered:
    """A worker has found another one dead, and has put its jobs back into the queue."""

    queue: str
    worker: str  #: the one that found it
    dead_worker: str
    jobs: int  #: how many will be run again
    given_up: int  #: how many have too many worker deaths, and went to the dead letters


@record
class ConnectionLost:
    """Redis does not respond on a connection, which is retried until it does."""

    queue: str
    connection: str  #: its purpose
    error: Exception


@record
class ConnectionRegained:
    """Redis responds again."""

    queue: str
    connection: str
    after_seconds: float


@record
class LoopBlocked:
    """Something has blocked the event loop of a worker for longer than `loop_block_warning`."""

    queue: str
    worker: str
    seconds: float  #: so far
    blocker: str  #: name of the asyncio task, "job:<task>:<job id>" if it is a job
    stack: str  #: stack of its thread


TelemetryEvent = (
    JobEnqueued
    | JobDelivered
    | JobStarted
    | JobEnded
    | JobRetried
    | JobHandedBack
    | JobParked
    | OutcomeRefused
    | JobsRecovered
    | ConnectionLost
    | ConnectionRegained
    | LoopBlocked
)

#: Called with each event. Its result is ignored.
Listener = Callable[[TelemetryEvent], object]
