"""The handle of one job."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from aiostreamq.errors import (
    EventsLost,
    JobError,
    JobNotFound,
    JobRestarted,
    ResultNotKept,
    StreamBroken,
)
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.outcome import UNREADABLE, JobState, Outcome, Unreadable, decode_outcome

if TYPE_CHECKING:
    from aiostreamq.client.results import ResultWaiter, Ticket
    from aiostreamq.client.sessions.registry import SessionRegistry
    from aiostreamq.model.events import Event, Lost, Position, Restarted
    from aiostreamq.model.info import JobInfo
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.enqueue import IdWas

C_co = TypeVar("C_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Home(Protocol):
    """What the handle of a job needs of the queue."""

    @property
    def sessions(self) -> "SessionRegistry":
        """Who uses it."""
        ...

    def spec_of(self, name: str) -> "TaskSpec | None":
        """What is known here of the task of a name."""
        ...


class Job(Generic[R_co]):
    """One enqueued call of a task.

    Awaiting it waits for its end and gives what the task returned. Many may
    await the same job, here or in other processes, as often as they like.

    It is used in the event loop in which the queue is open, or in a later one when that has
    ended. While the queue is open in another one, which runs, it raises UsageError. After the
    queue was closed it raises QueueUnavailable, until the queue is open again.
    """

    __slots__ = ("_home", "_keeps_result", "_ticket", "id", "is_new")

    def __init__(
        self,
        job_id: str,
        home: Home,
        ticket: "Ticket | None" = None,
        *,
        keeps_result: bool = True,
        is_new: bool | None = None,
    ) -> None:
        self.id = job_id  #: unique in its queue; `queue.job(id)` finds the job from any process
        self._home = home
        self._ticket = ticket
        self._keeps_result = keeps_result
        #: whether this enqueue made the job: False if its id was taken, and the job is the one
        #: that has it; None if that is not known: of `queue.job(id)`, and of an id that was taken
        #: when Redis was asked a second time, as the connection had broken
        self.is_new = is_new

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
            JobTimeout: The task ran past its timeout or its deadline.
            JobCancelled: The job was cancelled before it ended.
            JobNotFound: There is no such job, or its result has expired.
            ResultNotKept: The job keeps no result.
            JobError: What is kept as its outcome can not be read here.
            WaitTimeout: *timeout* passed first. The job goes on.
            QueueUnavailable: The queue was closed meanwhile.

        Cancelling is safe: nothing is consumed, a later call gets the same answer.
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
            waiter = ticket.waiter  # there is nothing to ask for, in whatever event loop
        else:
            waiter = self._home.sessions.current_for_job().waiter
            if ticket is None or ticket.waiter is not waiter:
                ticket = self._ticket = waiter.ticket(self.id)
        outcome = await waiter.outcome(ticket, limit)
        waiter.awaited_tasks.add(outcome.task)
        return outcome

    def events(self, after: str | None = None) -> "AsyncGenerator[Event[object], None]":
        """Follow what the job says, from the first that is kept to its end.

        Gives, in order, a `Progress` for each report, and for a streaming task a
        `Chunk` for each value; `Restarted` where the job runs again, after which all
        comes anew; and `Lost` where events were dropped before they were read here. A
        job that says nothing just ends.

        Args:
            after: The `id` of an event, to go on behind it: here, after a connection was
                lost, or in another process.

        Raises:
            UsageError: *after* is no such id.
            PayloadError: A chunk is not of the type that the task names.
            BrokerError: Redis refused.

        After the last event it raises what awaiting the job would: `JobFailed`, `ResultNotKept`
        and so on. Cancelling is safe: nothing is consumed. Who stops early should close it,
        with `contextlib.aclosing`.
        """
        # Here, as few programs need it and importing aiostreamq shall be quick.
        from aiostreamq.model.events import Position

        return self._events(Position(after))

    async def _events(self, position: "Position") -> "AsyncGenerator[Event[object], None]":
        import asyncio  # for the same reason

        waiter = self._home.sessions.current_for_job().waiter
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
                ending.exception()  # so that asyncio does not miss whoever looks at it
        if (error := outcome.error(self.id)) is not None:
            raise error

    async def __aiter__(self) -> "AsyncIterator[object]":
        """Give the values of the chunks as the job yields them.

        Raises:
            JobRestarted: The job runs again; iterating anew gives all from the start.
            EventsLost: Chunks were dropped before they were read here.

        Else as `events`.
        """
        events = self.events()
        async with aclosing(events):
            async for event in events:
                if event.kind == "chunk":
                    yield event.value
                elif event.kind != "progress":
                    raise _broken(self.id, event)

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
        from aiostreamq.store.cancellation import Cancellation

        (found,) = await Cancellation(self._home.sessions.current_for_job().broker).cancel(
            [self.id]
        )
        return self._state_in(found)

    def note_id(self, waiter: "ResultWaiter", id_was: "IdWas") -> None:
        """Note how the id of the caller's own was found when the job was enqueued."""
        if id_was:
            self.is_new = False if id_was.is_certain else None
        else:
            # It is used for a new job: what was known of an older one does not count.
            self._ticket = waiter.new_ticket(self.id)

    async def status(self) -> JobState:
        """Return where the job stands now.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        from aiostreamq.store.results import Results

        results = Results(self._home.sessions.current_for_job().broker)
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
        """Return what is known of the job: its task, where it stands, who has it, its arguments.

        Raises:
            JobNotFound: There is no such job, or its result has expired.
            JobError: What is kept as its outcome can not be read here.
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        # Imported with the first use: few programs look.
        from aiostreamq.client.job_listing import look_at_job

        return await look_at_job(
            self._home.sessions.current_for_job().broker, self.id, self._home.spec_of
        )


class StreamJob(Job[None], Generic[C_co]):
    """A job of a streaming task: an async iterator of what it yields. Awaiting it gives None."""

    __slots__ = ()

    if TYPE_CHECKING:

        def events(self, after: str | None = None) -> "AsyncGenerator[Event[C_co], None]":
            """Follow what the job says."""
            ...

        def __aiter__(self) -> "AsyncIterator[C_co]":
            """Give the values of the chunks."""
            ...


def _broken(job_id: str, event: "Restarted | Lost") -> StreamBroken:
    if event.kind == "restarted":
        return JobRestarted(job_id=job_id, after=event.id)
    return EventsLost(job_id=job_id, after=event.id, count=event.count)
