"""The handle of one job."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from aiostreamq.errors import (
    EventsLost,
    JobError,
    JobNotFound,
    JobRestarted,
    ResultNotKept,
    StreamBroken,
)
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import UNREADABLE, Outcome, Unreadable, decode_outcome

if TYPE_CHECKING:
    from aiostreamq.client.protocols import JobHome
    from aiostreamq.client.results.tickets import Ticket
    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.model.info import JobInfo
    from aiostreamq.model.job_events import Event, Lost, Position, Restarted
    from aiostreamq.store.enqueue import IdWas

C_co = TypeVar("C_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Job(Generic[R_co]):
    """One enqueued call of a task.

    Awaiting a job waits until it ends and returns the task's return value. A job can be
    awaited any number of times, by several tasks and processes at once.

    Use it in the event loop in which the queue is open, or in a later one once that has
    ended. It raises UsageError while the queue is open in another event loop that is running,
    and QueueUnavailable after the queue was closed, until it is open again.
    """

    __slots__ = ("_home", "_keeps_result", "_ticket", "id", "is_new")

    def __init__(
        self,
        job_id: str,
        home: "JobHome",
        ticket: "Ticket | None" = None,
        *,
        keeps_result: bool = True,
        is_new: bool | None = True,
    ) -> None:
        self.id = job_id  #: unique in its queue; `queue.job(id)` finds the job from any process
        self._home = home
        self._ticket = ticket
        self._keeps_result = keeps_result
        #: whether this enqueue created the job: False if another job had its id already, or holds
        #: its key, and this is that job. None if it is not known: for `queue.job(id)`, and for an
        #: id that was taken when the enqueue was sent a second time because the connection had
        #: broken
        self.is_new = is_new

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def at(self, home: "JobHome") -> "Job[R_co]":
        """Return the handle of the same job for another session. For the package itself."""
        if home is self._home:
            return self
        return Job(self.id, home, keeps_result=self._keeps_result, is_new=self.is_new)

    def __await__(self) -> Generator[object, None, R_co]:
        return self.result().__await__()

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Wait until the job ends and return what the task returned.

        Args:
            timeout: Seconds (or "10s", or a timedelta) to wait; None waits until it ends.

        Raises:
            JobFailed: The task raised; its type, message and traceback are attributes.
            JobTimeout: The task ran past its timeout or its deadline.
            JobCancelled: The job was cancelled before it ended.
            JobNotFound: There is no such job, or its result has expired.
            ResultNotKept: The job keeps no result.
            JobError: The stored outcome cannot be read by this release.
            WaitTimeout: *timeout* passed first. The job continues.
            QueueUnavailable: The queue was closed during the wait.

        Cancelling is safe: a later call gets the same result.
        """
        limit = None if timeout is None else seconds("timeout", timeout)
        outcome = await self._outcome(limit)
        if (error := outcome.error(self.id)) is not None:
            raise error
        spec = self._home.spec_of(outcome.task)
        if spec is None or spec.signature is None or spec.is_stream:
            return cast("R_co", outcome.value)
        return cast("R_co", spec.signature.restore_result(outcome.value))

    async def _outcome(self, limit: float | None = None) -> Outcome:
        if not self._keeps_result:
            raise ResultNotKept
        ticket = self._ticket
        if ticket is not None and ticket.outcome is not None:
            waiter = ticket.waiter  # the outcome is known: any event loop will do
        else:
            waiter = self._home.session_for_job().waiter
            if ticket is None or ticket.waiter is not waiter:
                ticket = self._ticket = waiter.ticket(self.id)
        outcome = await waiter.outcome(ticket, limit)
        waiter.awaited_tasks.add(outcome.task)
        return outcome

    def events(self, after: str | None = None) -> "AsyncGenerator[Event[object], None]":
        """Follow the events of the job, from the first that is kept to the job's end.

        Yields, in order, a `Progress` for each report, and for a streaming task a
        `Chunk` for each value; `Restarted` if the job runs again, after which its events
        start over; and `Lost` if events were dropped before they were read here. For a
        job without events it only waits for the end.

        Args:
            after: The `id` of an event: continue after it, following a lost connection, or
                in another process.

        Raises:
            UsageError: *after* is not an id of an event.
            PayloadError: A chunk does not have the type that the task declares.
            BrokerError: Redis refused.

        After the last event it raises what awaiting the job would: `JobFailed`, `ResultNotKept`
        and so on. Cancelling is safe: events can be read again. Close the iterator if you stop
        early, with `contextlib.aclosing`.
        """
        # Imported late: few programs need it, and importing aiostreamq must be quick.
        from aiostreamq.model.job_events import Position

        return self._events(Position(after))

    async def _events(self, position: "Position") -> "AsyncGenerator[Event[object], None]":
        import asyncio  # for the same reason

        waiter = self._home.session_for_job().waiter
        ending = asyncio.create_task(self._outcome(), name=f"aiostreamq:end:{self.id}")
        following = waiter.follower.follow(self.id, (position.number, position.seq), ending)
        try:
            async with aclosing(following):
                async for entry in following:
                    for event in position.read(entry, waiter.restorer_of(entry.task)):
                        yield event
            outcome = await ending
        finally:
            ending.cancel()
            if ending.done() and not ending.cancelled():
                ending.exception()  # retrieved, or asyncio would log that it never was
        if (error := outcome.error(self.id)) is not None:
            raise error

    async def __aiter__(self) -> "AsyncIterator[object]":
        """Yield the values of the chunks as the job produces them.

        Raises:
            JobRestarted: The job runs again; a new iteration begins at its first chunk.
            EventsLost: Chunks were dropped before they were read here.

        Otherwise as `events`.
        """
        events = self.events()
        async with aclosing(events):
            async for event in events:
                if event.kind == "chunk":
                    yield event.value
                elif event.kind != "progress":
                    raise _broken(self.id, event)

    async def cancel(self) -> JobState:
        """Cancel the job in any state; return the state that it was in.

        A waiting job (`QUEUED`, `DELAYED`, `HELD`, `PARKED`) has ended when this returns,
        and never starts. A `RUNNING` job is stopped by its worker at once: a coroutine is
        cancelled and has five seconds to clean up, a process is killed, a thread sees
        `Context.is_cancelled`. It ends as cancelled, unless it completes first. If its
        worker dies, it is not run again.

        Code that awaits the job gets JobCancelled. A job that has ended does not change,
        and its final state is returned.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            JobError: The job has ended, and this release cannot read its outcome.
            BrokerError: Redis refused.

        If this call is cancelled, the job may or may not be; calling it again is safe.
        """
        from aiostreamq.store.cancellation import Cancellation

        (found,) = await Cancellation(self._home.session_for_job().store).cancel([self.id])
        return self._state_in(found)

    def become(self, job_id: str) -> None:
        """Be the handle of another job, which holds the key of this one; for the package itself."""
        self.id, self.is_new = job_id, False
        self._ticket, self._keeps_result = None, True  # what is kept is known to Redis

    def note_id(self, waiter: "ResultWaiter", id_was: "IdWas") -> None:
        """Note whether the id that the caller chose was free when the job was enqueued."""
        if id_was:
            self.is_new = False if id_was.is_certain else None
        else:
            # This is a new job: what was known of an older one with its id does not count.
            self._ticket = waiter.new_ticket(self.id)

    async def status(self) -> JobState:
        """Return the current state of the job.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        from aiostreamq.store.results import Results

        results = Results(self._home.session_for_job().store)
        return self._state_in(await results.job_state(self.id))

    def _state_in(self, found: bytes | None) -> JobState:
        if found is None:
            raise JobNotFound(job_id=self.id)
        if found.startswith(b"{"):
            try:
                return decode_outcome(found).state
            except Unreadable as error:
                raise JobError(UNREADABLE, job_id=self.id) from error
        return JobState(found.decode())

    async def info(self) -> "JobInfo":
        """Return what is known about the job: its task, state, worker, arguments and so on.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            JobError: The stored outcome cannot be read by this release.
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        # Imported at the first use: few programs need it.
        from aiostreamq.client.job_listing import look_at_job

        return await look_at_job(self._home.session_for_job().store, self.id, self._home.spec_of)


class StreamJob(Job[None], Generic[C_co]):
    """A job of a streaming task: an async iterator of its values. Awaiting it returns None."""

    __slots__ = ()

    if TYPE_CHECKING:

        def events(self, after: str | None = None) -> "AsyncGenerator[Event[C_co], None]":
            """Follow the events of the job."""
            ...

        def __aiter__(self) -> "AsyncIterator[C_co]":
            """Yield the values of the chunks."""
            ...


def _broken(job_id: str, event: "Restarted | Lost") -> StreamBroken:
    if event.kind == "restarted":
        return JobRestarted(job_id=job_id, after=event.id)
    return EventsLost(job_id=job_id, after=event.id, count=event.count)
