"""`Context`: what a running task can read about its job, and the progress it reports."""

from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from typing_extensions import TypeVar  # its defaults are new in Python 3.13

    from aiostreamq.client.queue_client import QueueClient

    StateT_co = TypeVar("StateT_co", covariant=True, default=object)
else:
    from typing import TypeVar

    StateT_co = TypeVar("StateT_co", covariant=True)


class StopFlag:
    """A flag that the event loop sets to ask a thread to stop its job."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False  # one attribute, set once: safe between threads


class EventSink(Protocol):
    """The sender of a run's events."""

    has_events: bool  #: whether it was given any event

    @property
    def is_full(self) -> bool:
        """Whether to wait before giving it more events."""
        ...

    def emit(self, event: bytes) -> None:
        """Send an event with the next batch."""
        ...

    def emit_soon(self, report: bytes) -> None:
        """Send a progress report, from any thread."""
        ...

    async def wait_room(self) -> None:
        """Wait until it is not full."""
        ...

    async def stream(
        self,
        chunks: "AsyncGenerator[object, None]",
        write: "Callable[[object], bytes]",
        max_payload: int,
    ) -> None:
        """Send everything that *chunks* yields, as encoded by *write*."""
        ...

    async def aclose(self) -> None:
        """Send the end of the events, and wait until Redis has accepted or refused them all."""
        ...


class Charges(Protocol):
    """The charges of a run to the rates of its task."""

    async def set(self, limit: str, cost: float) -> bool:
        """Set what the run takes of a rate; return False if the job has left this worker."""
        ...


# The largest cost that Redis counts exactly.
_MOST_COST = 1e9


@record
class Context(Generic[StateT_co]):
    """The context of one run, passed to a task that has a parameter annotated with this class.

    `job_id` and `delivery` together identify one run for ever: use them as a fencing token
    towards other systems, or `job_id` alone as an idempotency key. In `Context[State]`, State
    is the type of what the queue's lifespan yields.
    """

    job_id: str  #: id of the job
    task: str  #: name of the task
    attempt: int  #: number of this attempt, from 1: runs that raised and were retried count
    delivery: int  #: number of this delivery, from 1: each run of the job has a higher one
    queue: "QueueClient"  #: the job's queue, to enqueue further jobs; not in a process
    worker: str  #: name of the worker that runs it
    #: the time in UTC for which its schedule planned the job; None if no schedule made it
    scheduled_for: datetime | None = None
    #: the time in UTC, by Redis's clock, by which the job must have ended; None if it has none
    deadline: datetime | None = None
    #: the value that the queue's lifespan yielded in this process; None if it has none
    state: StateT_co = field(default=cast("Any", None), repr=False, compare=False)
    _stop: StopFlag = field(default_factory=StopFlag, repr=False, compare=False)
    _sink: EventSink | None = field(default=None, repr=False, compare=False)
    #: the headers of the job, which the jobs that it enqueues inherit
    headers: "Mapping[str, str]" = field(default_factory=dict[str, str])
    #: in a callback the id of the job that has ended, for `queue.job(...)`; None in other jobs
    parent: str | None = None
    _charges: Charges | None = field(default=None, repr=False, compare=False)

    @property
    def is_cancelled(self) -> bool:
        """Whether this run must stop: it was cancelled, ran out of time, or its worker stops.

        For `def` tasks, because a thread cannot be stopped from outside: check it now and
        then, in any thread, and return if it is true. Checking it does not ask Redis. It is
        never true in a process, which is killed instead.
        """
        return self._stop.is_set

    async def progress(self, /, fraction: float, message: str = "", **meta: object) -> None:
        """Report the progress of the job to the callers that follow it.

        Args:
            fraction: The share that is done, 0 to 1.
            message: A text for people.
            **meta: Any further values that JSON can represent.

        Raises:
            UsageError: *fraction* is not between 0 and 1, or the task runs in a process.
            PayloadError: *meta* cannot be sent as JSON, or is too long.

        It returns before Redis has the report, but waits if many events of this job have not
        been sent yet. A report that Redis refuses is logged and lost: progress never fails a
        job. Cancelling is safe. It does nothing in a context that no worker created.
        """
        report = self._report(fraction, message, meta)
        if self._sink is not None:
            self._sink.emit(report)
            if self._sink.is_full:
                await self._sink.wait_room()

    def progress_nowait(self, /, fraction: float, message: str = "", **meta: object) -> None:
        """Report progress without waiting, from any thread: for `def` tasks.

        While the report before has not been sent, the new one may replace it. The last
        report is always sent.

        Raises:
            As `progress`.
        """
        report = self._report(fraction, message, meta)
        if self._sink is not None:
            self._sink.emit_soon(report)

    async def charge(self, limit: str, cost: float, /) -> bool:
        """Set what this run takes of a `Rate`, when it is known better than before the start.

        It replaces what was reserved at the start by `Rate(cost=...)`, or set by an earlier call.
        If that was too much, jobs that wait may start sooner. If it was too little, they start
        later: more than the limit ever has may be charged, up to twice that.

        Args:
            limit: The name of a `Rate` of the task.
            cost: How much, from 0.

        Returns:
            Whether it is charged. It is not if the job has left this worker, which was taken for
            dead, nor in a context that no worker created.

        Raises:
            UsageError: The task has no such limit, *cost* is invalid, or the task runs in a
                process.
            BrokerError: Redis refused.

        It waits until Redis has answered. If it is cancelled, the cost may or may not be charged;
        calling it again is safe.
        """
        if type(cost) not in {int, float} or not 0 <= cost <= _MOST_COST:
            raise UsageError(
                f"task {self.task!r}: charge({limit!r}, {cost!r}) is invalid: give a cost from 0 "
                f"to {_MOST_COST:.0f}"
            )
        if self._charges is not None:
            return await self._charges.set(limit, cost)
        _ = self.queue.name  # refused in a process
        return False

    def _report(self, fraction: float, message: str, meta: dict[str, object]) -> bytes:
        # Imported late: few programs need it, and importing aiostreamq must be quick.
        from aiostreamq.model.job_events import encode_progress

        report = encode_progress(fraction, message, meta)
        if len(report) > self.queue.max_payload:
            raise PayloadError(
                f"task {self.task!r}: progress of {len(report):,} bytes is over the limit of "
                f"{self.queue.max_payload:,}: send a reference to the data, or raise "
                f"Queue(max_payload=)"
            )
        return report
