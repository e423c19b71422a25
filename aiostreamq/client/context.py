"""What a running task can know about itself, and say."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from aiostreamq.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiostreamq.client.queue_client import QueueClient


# By when the job that runs here must have ended, with all that it enqueues: ms since 1970 by
# Redis's clock.
DEADLINE: ContextVar[float | None] = ContextVar("aiostreamq_deadline", default=None)


class StopFlag:
    """Says from the event loop to a thread that its job is to stop."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False  # one attribute, set once: safe between threads


class EventSink(Protocol):
    """What a run speaks with."""

    has_spoken: bool  #: whether anything was said

    @property
    def is_full(self) -> bool:
        """Whether to wait before saying more."""
        ...

    def say(self, event: bytes) -> None:
        """Take an event along with the next batch."""
        ...

    def say_soon(self, report: bytes) -> None:
        """Say a report of progress, from any thread."""
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
        """Say all that *chunks* yields, as *write* writes it."""
        ...

    async def aclose(self) -> None:
        """Say that nothing follows, and wait until Redis has all, or has refused it."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to a task that has a parameter annotated with this class.

    Together `job_id` and `delivery` name one run for ever: use them as a fencing
    token, or `job_id` alone as an idempotency key, towards other systems.
    """

    job_id: str  #: id of the job
    task: str  #: name of the task
    attempt: int  #: number of this attempt, from 1: runs that raised and were retried count
    delivery: int  #: number of this delivery, from 1: each run of the job has a higher one
    queue: "QueueClient"  #: the queue the job came from, to enqueue further jobs; not in a process
    worker: str  #: name of the worker that runs it
    #: the time in UTC at which the schedule that it comes from had planned it; None for other jobs
    scheduled_for: datetime | None = None
    #: by when the job must have ended, in UTC by Redis's clock; None where nothing was said
    deadline: datetime | None = None
    _stop: StopFlag = field(default_factory=StopFlag, repr=False, compare=False)
    _voice: EventSink | None = field(default=None, repr=False, compare=False)

    @property
    def is_cancelled(self) -> bool:
        """Whether this run is to stop: it was cancelled, ran out of time, or its worker stops.

        For `def` tasks, whose threads nothing can stop: look at it now and then, from
        any thread, and return. It asks nothing of Redis. Never true in a process, which
        is killed instead.
        """
        return self._stop.is_set

    async def progress(self, /, fraction: float, message: str = "", **meta: object) -> None:
        """Tell whoever follows the job how far it has got.

        Args:
            fraction: How much is done, 0 to 1.
            message: For people.
            **meta: Anything else that JSON can carry.

        Raises:
            UsageError: *fraction* is none, or the task runs in a process.
            PayloadError: *meta* cannot travel, or is too long.

        Returns before Redis has it, but waits while this job has much that Redis has
        not got yet. What Redis refuses is logged and lost: progress fails no job. Cancelling
        is safe. Does nothing in a context that no worker has made.
        """
        report = self._report(fraction, message, meta)
        if self._voice is not None:
            self._voice.say(report)
            if self._voice.is_full:
                await self._voice.wait_room()

    def progress_nowait(self, /, fraction: float, message: str = "", **meta: object) -> None:
        """Say the same without waiting, from any thread: for `def` tasks.

        While Redis has not got what was said before, a report may take the place
        of the one before it; the last is always told.

        Raises:
            As `progress`.
        """
        report = self._report(fraction, message, meta)
        if self._voice is not None:
            self._voice.say_soon(report)

    def _report(self, fraction: float, message: str, meta: dict[str, object]) -> bytes:
        # Here, as few programs need it and importing aiostreamq shall be quick.
        from aiostreamq.model.events import encode_progress

        report = encode_progress(fraction, message, meta)
        if len(report) > self.queue.max_payload:
            raise PayloadError(
                f"task {self.task!r}: progress of {len(report):,} bytes is over the limit of "
                f"{self.queue.max_payload:,}: say where the data is, or raise Queue(max_payload=)"
            )
        return report
