"""What a running task can know about itself."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiostreamq.client.producer import Producer


# By when the job that runs here must have ended, with all that it enqueues: ms since 1970 by
# Redis's clock.
DEADLINE: ContextVar[float | None] = ContextVar("aiostreamq_deadline", default=None)


class StopFlag:
    """Says from the event loop to a thread that its job is to stop."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        self.is_set = False  # one attribute, set once: safe between threads


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
    queue: "Producer"  #: the queue the job came from, to enqueue further jobs
    worker: str  #: name of the worker that runs it
    _stop: StopFlag = field(default_factory=StopFlag, repr=False, compare=False)

    @property
    def is_cancelled(self) -> bool:
        """Whether this run is to stop: it was cancelled, ran out of time, or its worker stops.

        For `def` tasks, whose threads nothing can stop: look at it now and then, from
        any thread, and return. It asks nothing of Redis.
        """
        return self._stop.is_set
