"""The handle of one job, for code that does not run in an event loop."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from aiostreamq.client.job import Job
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.info import JobInfo
    from aiostreamq.model.job_state import JobState

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


class JobCaller(Protocol):
    """Calls methods of jobs in the event loop of a session, and waits for them."""

    def call_job(self, job: "Job[R]", method: "Callable[[Job[R]], Coroutine[Any, Any, T]]") -> T:
        """Call *method* with *job*, in the event loop for the calling thread."""
        ...


class BlockingJob(Generic[R_co]):
    """One enqueued call of a task. Its methods block the calling thread, not an event loop.

    It can be used from any thread, by several at once, and in a process that was forked.
    """

    __slots__ = ("_caller", "job")

    def __init__(self, job: "Job[R_co]", caller: JobCaller) -> None:
        self.job = job  #: the same job, for code in the event loop of the sync door; not public
        self._caller = caller

    def __repr__(self) -> str:
        return f"<BlockingJob {self.id}>"

    @property
    def id(self) -> str:
        """The id, unique in its queue."""
        return self.job.id

    @property
    def is_new(self) -> bool | None:
        """Whether this enqueue created the job, as for `Job.is_new`."""
        return self.job.is_new

    def result(self, timeout: "Duration | None" = None) -> R_co:
        """Block until the job ends; return what the task returned.

        Args:
            timeout: Seconds (or "10s", or a timedelta) to wait; None waits until it ends.

        Raises:
            UsageError: The queue is open in the running event loop of this thread.
            As `Job.result`.

        A KeyboardInterrupt ends the wait. A later call gets the same result.
        """
        return self._caller.call_job(self.job, lambda job: job.result(timeout))

    def status(self) -> "JobState":
        """Return the current state of the job.

        Raises:
            As `Job.status`.
        """
        return self._caller.call_job(self.job, lambda job: job.status())

    def info(self) -> "JobInfo":
        """Return what is known about the job: its task, state, worker, arguments and so on.

        Raises:
            As `Job.info`.
        """
        return self._caller.call_job(self.job, lambda job: job.info())

    def cancel(self) -> "JobState":
        """Cancel the job in any state; return the state that it was in.

        Raises:
            As `Job.cancel`.
        """
        return self._caller.call_job(self.job, lambda job: job.cancel())


def handles_of(jobs: object) -> "list[Job[Any]]":
    """Return the handles of *jobs*, as the event loop of their queue uses them.

    Raises:
        UsageError: It is not an iterable of jobs of this kind.
    """
    if not isinstance(jobs, Iterable):
        kind = type(jobs).__name__
        raise UsageError(f"queue.sync.gather takes a list of jobs, not an object of type {kind!r}")
    return [_handle_of(job) for job in cast("Iterable[object]", jobs)]


def _handle_of(job: object) -> "Job[Any]":
    if isinstance(job, BlockingJob):
        return cast("BlockingJob[Any]", job).job
    raise UsageError(
        f"queue.sync.gather takes jobs, as queue.sync.enqueue returns them, and this is an object "
        f"of type {type(job).__name__!r}"
    )
