"""One job while it runs."""

from bisect import bisect
from typing import TYPE_CHECKING

from aiostreamq.model.delivery import Settlement
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import encode_ended
from aiostreamq.model.stats import BOUNDS, SHORTEST, Kinds, kind_of
from aiostreamq.model.task import milliseconds
from aiostreamq.worker.run.run_state import MOVES, RUNNING, RunState

if TYPE_CHECKING:
    import concurrent.futures

    from aiostreamq.aio.own_tasks import OwnTask
    from aiostreamq.client.context import StopFlag
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.worker.protocols import SuspectRun
    from aiostreamq.worker.run.pool import Pool


# Ends with a dead letter.
DEAD_ENDS = frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD})

# Seconds that a process may take to start and to import a task's module, before its timeout runs.
START_TIME = 60.0

_KINDS = Kinds()

#: Why a job ended without a run, for its log line.
WHY_UNRUN = {
    JobState.CANCELLED: "was cancelled before it ran",
    JobState.EXPIRED: "has expired: it waited too long to be run",
}


class Run:
    """One delivery while it runs."""

    __slots__ = (
        "began",
        "delivery",
        "envelope",
        "flag",
        "give_up_at",
        "key",
        "pool",
        "spec",
        "state",
        "suspect",
        "task",
        "thread",
    )

    def __init__(
        self,
        delivery: "Delivery",
        envelope: "Envelope",
        spec: "TaskSpec",
        began: float,
    ) -> None:
        self.delivery = delivery
        self.key = delivery.stream, delivery.entry  #: identifies the delivery
        self.envelope = envelope
        self.spec = spec
        self.state = RUNNING
        self.give_up_at = 0.0  #: loop time until which it may clean up, once it was stopped
        self.task: OwnTask[None] | None = None  #: None only while it is started
        self.suspect: SuspectRun | None = None  #: if it was with workers that died
        self.pool: Pool | None = None  #: in which it has a place; None on the event loop
        self.thread: concurrent.futures.Future[object] | None = None  #: what runs its function
        self.flag: StopFlag | None = None  #: of its context, if its task takes one
        self.began = began  #: when its function was called, monotonic

    def stop(self, why: RunState) -> bool:
        """Have the function stop, if it can hear of that; return False if that changes nothing.

        Args:
            why: The reason: TIMED_OUT, CANCELLED or SHUT_DOWN.
        """
        if why not in MOVES[self.state]:
            return False
        self.state = why
        if self.flag is not None:
            self.flag.is_set = True
        return True

    @property
    def timeout(self) -> float | None:
        """Seconds that the function may take; 0 and None are without a limit."""
        timeout = self.envelope.timeout
        return self.spec.options.timeout if timeout is None else timeout

    @property
    def start_time(self) -> float:
        """Seconds that may pass before its function is called."""
        return START_TIME if self.spec.pool == "process" else 0.0

    @property
    def keep_ms(self) -> int:
        """Milliseconds that its outcome is kept; 0 is not at all."""
        ttl = self.envelope.result_ttl
        return self.spec.keep_ms if ttl is None else milliseconds(ttl)


def has_expired(run: Run, now_ms: float) -> bool:
    """Whether it is too late to start it."""
    # A later attempt was started in time: what expires is the wait for the first.
    expires_ms = run.envelope.expires if run.delivery.attempt == 1 else None
    is_late = expires_ms is not None and now_ms >= expires_ms
    return is_late or not has_time_left(run, now_ms)


def state_unrun(run: Run, now_ms: float, *, is_cancelled: bool) -> JobState | None:
    """Return the state in which a job ends that may not start; None if it may."""
    if is_cancelled:
        return JobState.CANCELLED
    return JobState.EXPIRED if has_expired(run, now_ms) else None


def has_time_left(run: Run, when_ms: float) -> bool:
    """Whether its deadline is still to come at *when_ms*."""
    deadline_ms = run.envelope.deadline
    return deadline_ms is None or when_ms < deadline_ms


def log_fields(run: Run, worker: str) -> dict[str, object]:
    """Return the fields of a log record about a run of *worker*."""
    delivery = run.delivery
    return {
        "task": run.spec.name,
        "job_id": delivery.job_id,
        "attempt": delivery.attempt,
        "worker": worker,
    }


def end_of(run: Run, outcome: bytes, state: JobState | None, now: float) -> Settlement:
    """Return the settlement of a run that is over.

    Args:
        run: The run.
        outcome: Its outcome, as JSON.
        state: How it ended; None if its function returned.
        now: The present, by the monotonic clock.
    """
    task, keep_ms, ran = run.spec.name, run.keep_ms, now - run.began
    if state is None:
        kind = _KINDS[task][bisect(BOUNDS, ran) if ran >= SHORTEST else 0]
        is_dead = False
    else:
        kind, is_dead = kind_of(task, state, ran), state in DEAD_ENDS
    kept = outcome if keep_ms or is_dead else b""
    # As Settlement(...), at half its price, which pays for some of the counting.
    metadata = run.envelope.metadata
    callback, key = None, None
    if metadata is not None:
        callback, key = metadata.callbacks.for_end(state), metadata.key
    fields = (run.delivery, keep_ms, kept, is_dead, kind, run.began, callback, key)
    return tuple.__new__(Settlement, fields)  # pyright: ignore[reportUnknownMemberType]  # typeshed's iterable of unknown


def end_unrun(run: Run, state: JobState) -> Settlement:
    """Return the settlement of a job that will not be run."""
    outcome, keep_ms = encode_ended(run.spec.name, run.delivery.number, state), run.keep_ms
    kind = kind_of(run.spec.name, state, None)
    callback, key = run.envelope.callbacks.for_end(state), run.envelope.key
    kept = outcome if keep_ms else b""
    delivery = run.delivery
    if run.spec.is_ordered and delivery.permits is None:
        delivery = delivery._replace(permits=b"-")  # the next job of its key may start
    return Settlement(delivery, keep_ms, kept, False, kind, run.began, callback, key)
