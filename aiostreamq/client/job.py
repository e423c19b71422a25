"""The handle of one job."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from aiostreamq.errors import JobError, JobNotFound, NoResult
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.outcome import UNREADABLE, JobState, Unreadable, decode_outcome

if TYPE_CHECKING:
    from aiostreamq.client.waiter import Ticket, Waiter

R_co = TypeVar("R_co", covariant=True)


class Job(Generic[R_co]):
    """One enqueued call of a task.

    Awaiting it waits for its end and gives what the task returned. Many may
    await the same job, here or in other processes, as often as they like.
    """

    __slots__ = ("_keeps_result", "_ticket", "_waiter", "id")

    def __init__(
        self,
        job_id: str,
        waiter: "Waiter",
        ticket: "Ticket | None" = None,
        *,
        keeps_result: bool = True,
    ) -> None:
        self.id = job_id  #: unique in its queue; `queue.job(id)` finds the job from any process
        self._waiter = waiter
        self._ticket = ticket
        self._keeps_result = keeps_result

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __await__(self) -> Generator[object, None, R_co]:
        return self.result().__await__()

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Wait for the job to end and return what the task returned.

        Args:
            timeout: Seconds (or "10s", or a timedelta) to wait; None waits until it ends.

        Raises:
            JobFailed: The task raised; its type, message and traceback are attributes.
            JobTimeout: The task ran past its timeout.
            JobCancelled: The job was cancelled before it ended.
            JobNotFound: There is no such job, or its result has expired.
            NoResult: The job keeps no result.
            JobError: What is kept as its outcome can not be read here.
            WaitTimeout: *timeout* passed first. The job goes on.
            QueueUnavailable: The queue was closed meanwhile.

        Cancelling is safe: nothing is consumed, a later call gets the same answer.
        """
        if not self._keeps_result:
            raise NoResult
        if self._ticket is None:
            self._ticket = self._waiter.ticket(self.id)
        limit = None if timeout is None else seconds("timeout", timeout)
        outcome = await self._waiter.outcome(self._ticket, limit)
        self._waiter.awaited_tasks.add(outcome.task)
        if (error := outcome.error(self.id)) is not None:
            raise error
        spec = self._waiter.spec_of(outcome.task)
        if spec is None or spec.signature is None:
            return cast("R_co", outcome.value)
        return cast("R_co", spec.signature.restore_result(outcome.value))

    async def cancel(self) -> JobState:
        """End the job, wherever it is; return the state that it was in.

        One that waits (`QUEUED`, `DELAYED`, `PARKED`) has ended when this returns, and is
        never started. One that is `RUNNING` is stopped by its worker at once: a
        coroutine is cancelled and has five seconds to clean up, a process is killed, a
        thread sees `Context.is_cancelled`. It ends as cancelled, unless it comes
        to its end first. Should its worker die, it is not run again.

        Whoever awaits the job gets JobCancelled. One that has ended stays as it is, and
        the state in which it ended is returned.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            JobError: It has ended, and its outcome cannot be read here.
            BrokerError: Redis refused.

        Cancelling leaves open whether the job was cancelled; doing it again is safe.
        """
        from aiostreamq.store.steering import Steering

        (found,) = await Steering(self._waiter.broker).cancel([self.id])
        return self._state_in(found)

    def begin_anew(self) -> None:
        """Its id is used for a new job: what was known of an older one does not count."""
        self._ticket = self._waiter.new_ticket(self.id)

    async def status(self) -> JobState:
        """Return where the job stands now.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        return self._state_in(await self._waiter.broker.status(self.id))

    def _state_in(self, found: bytes | None) -> JobState:
        if found is None:
            raise JobNotFound(job_id=self.id)
        if found.startswith(b"{"):
            try:
                return decode_outcome(found).state
            except Unreadable as error:
                raise JobError(UNREADABLE, job_id=self.id) from error
        return JobState(found.decode())
