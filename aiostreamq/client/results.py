"""Waiting for outcomes: one blocking read for all jobs a process awaits.

The outcome of a job is kept under `result:<id>`; what comes through the inbox
is a hint, usually with the outcome in it. A hint can be lost, as BLPOP hands out
what it may not be able to deliver. So whenever the connection was lost, and now
and then anyway, everything that is waited for is looked up again: the same
`subscribe` that asked for the hints answers with what has ended meanwhile.

Where a job is not known, its end may still be among the hints that have not been
read: a busy process can be so late that the outcome has expired. So it is not given
up before all has been read that came earlier, which an echo through the inbox tells.
"""

import asyncio
import secrets
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from aiostreamq.aio.batching import GroupCommit
from aiostreamq.aio.tasks import OwnTask, spawn
from aiostreamq.client.current_job import JOB
from aiostreamq.errors import (
    BrokerError,
    JobError,
    JobNotFound,
    QueueUnavailable,
    ResultNotKept,
    WaitTimeout,
)
from aiostreamq.model.outcome import UNREADABLE, Outcome, Unreadable, decode_outcome
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.results import SUBSCRIBE_LIMIT, Results, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.current_job import Key, Lender
    from aiostreamq.client.events import EventFollower
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.queue import QueueStore

# Seconds. One BLPOP lasts so long; its end is also when an idle process finds
# out that its connection has died.
BLOCK = 5

# Seconds between looking everything up again. Only lost hints wait for it.
SWEEP = 10.0


class Ticket:
    """One job that somebody in this process may wait for."""

    __slots__ = (
        *("__weakref__", "futures", "is_announced", "is_certain", "job_id", "outcome", "waiter"),
    )

    def __init__(self, job_id: str, waiter: "ResultWaiter", *, is_announced: bool = False) -> None:
        self.job_id = job_id
        self.waiter = waiter  #: who will be told of the end
        self.is_announced = is_announced  #: whether our inbox will be told of its end
        self.outcome: bytes | None = None  #: JSON, once the job has ended
        self.is_certain = False  #: whether the outcome is what is kept, and not a hint
        self.futures: list[asyncio.Future[bytes]] = []  #: of those who wait now

    def resolve(self, outcome: bytes, *, is_certain: bool) -> None:
        """The job has ended."""
        self.outcome = outcome
        self.is_certain = is_certain
        for future in self.futures:
            if not future.done():
                future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """There is nothing to wait for."""
        for future in self.futures:
            if not future.done():
                future.set_exception(error)


class ResultWaiter:
    """The inbox of one process, and all who wait on it."""

    def __init__(self, broker: "QueueStore", spec_of: "Callable[[str], TaskSpec | None]") -> None:
        self.spec_of = spec_of  #: what is known of a task, to restore its results
        self.inbox = secrets.token_hex(8)
        #: tasks whose jobs have been awaited here: the next ones are announced with their enqueue
        self.awaited_tasks: set[str] = set()
        self._broker = broker
        self._results = Results(broker)
        self._inbox_key = broker.keys.inbox(self.inbox)
        self._line = ReconnectingLink(broker.connector, "inbox", reply_timeout=BLOCK + 5)
        self._tickets: WeakValueDictionary[str, Ticket] = WeakValueDictionary()
        # Not by their ids: an id that is used again has a ticket for each of its jobs.
        self._awaited: set[Ticket] = set()
        self._subscriptions = GroupCommit[Ticket](self._subscribe, SUBSCRIBE_LIMIT)
        self._listening: OwnTask[None] | None = None
        self._link: Link | None = None  # the one that was listened on last
        self._unknown: dict[str, list[Ticket]] = {}  # by the echo that decides about them
        self._swept = 0.0  # loop time
        self._is_closed = False
        self._follower: EventFollower | None = None

    @property
    def follower(self) -> "EventFollower":
        """Who reads what jobs say; made when first asked for."""
        if self._follower is None:
            from aiostreamq.client.events import EventFollower

            self._follower = EventFollower(self.broker)
        return self._follower

    @property
    def broker(self) -> "QueueStore":
        """Where the jobs are."""
        return self._broker

    def ticket(self, job_id: str) -> Ticket:
        """The ticket of a job, shared by all who wait for its end.

        Where the end is known already there is a new one: the job may have been replayed.
        """
        ticket = self._tickets.get(job_id)
        if ticket is None or ticket.outcome is not None:
            ticket = self._tickets[job_id] = Ticket(job_id, self)
        return ticket

    def restorer_of(self, task: str) -> "Callable[[object], object]":
        """What makes values of the chunks of *task*."""
        spec = self.spec_of(task)
        if spec is None or spec.signature is None or not spec.is_stream:
            return _as_it_is
        return spec.signature.restore_result

    def new_ticket(self, job_id: str, *, is_announced: bool = False) -> Ticket:
        """The ticket of a job that is new, whether or not its id is.

        Args:
            job_id: Of the job.
            is_announced: Whether it is enqueued with our inbox as its waiter.
        """
        ticket = self._tickets[job_id] = Ticket(job_id, self, is_announced=is_announced)
        return ticket

    async def outcome(self, ticket: Ticket, timeout: float | None = None) -> Outcome:
        """Wait for the outcome of a job, for *timeout* seconds or until it ends.

        Raises:
            WaitTimeout: *timeout* passed first.
            JobNotFound: There is no such job (any more).
            JobError: Its outcome cannot be read here.
            ResultNotKept: It keeps none.
            QueueUnavailable: The queue was closed.

        Cancelling is safe: only this wait ends.
        """
        if timeout is None:
            return await self._outcome(ticket)
        try:
            async with asyncio.timeout(timeout):
                return await self._outcome(ticket)
        except TimeoutError:
            raise WaitTimeout from None

    async def _outcome(self, ticket: Ticket) -> Outcome:
        while True:
            raw = await self._wait(ticket)
            try:
                return decode_outcome(raw)
            except Unreadable as error:
                # Came as a hint, it is looked up; kept so, there is nothing else.
                if not self._doubt(ticket, raw):
                    raise JobError(UNREADABLE, job_id=ticket.job_id) from error

    async def _wait(self, ticket: Ticket) -> bytes:
        if ticket.outcome is not None:
            return ticket.outcome
        if self._is_closed:
            raise QueueUnavailable("the queue was closed while its result was awaited")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        ticket.futures.append(future)
        self._awaited.add(ticket)
        if not ticket.is_announced:
            ticket.is_announced = True
            self._subscriptions.add(ticket)
        if self._listening is None:
            self._swept = asyncio.get_running_loop().time()
            self._listening = spawn(self._listen(), "aiostreamq:inbox")
        lending = self._lending()
        try:
            if lending is not None:
                lending[0].lend(lending[1])
            return await future
        finally:
            if lending is not None:
                lending[0].take_back(lending[1])
            ticket.futures.remove(future)
            if not ticket.futures:
                self._awaited.discard(ticket)

    def _lending(self) -> "tuple[Lender, Key] | None":
        """Whose slot is not needed while a job of this queue is awaited."""
        job = JOB.get()
        if job is None or job[3] is None or job[4] is None:
            return None
        return (job[3], job[4]) if job[3].queue == self._broker.keys.queue else None

    def _doubt(self, ticket: Ticket, outcome: bytes) -> bool:
        """Forget an outcome that makes no sense, so that the next wait looks it up.

        Returns False where it is what is kept.
        """
        if ticket.outcome is outcome:
            if ticket.is_certain:
                return False
            ticket.outcome = None
            ticket.is_announced = False
        return True

    def close(self) -> None:
        """Stop listening; whoever still waits gets QueueUnavailable."""
        self._is_closed = True
        self._line.close()
        if self._listening is not None:
            self._listening.end()
        self._fail_all(QueueUnavailable("the queue was closed while its result was awaited"))
        if self._follower is not None:
            self._follower.close()

    async def wait_closed(self) -> None:
        """Wait until nothing goes on after `close`."""
        if self._follower is not None:
            await self._follower.wait_closed()
        if self._listening is not None:
            await asyncio.wait([self._listening])

    def abandon(self) -> None:
        """Let go of the connections of an event loop that does not run."""
        self._is_closed = True
        self._line.abandon()
        if self._follower is not None:
            self._follower.abandon()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                notices = await self._line.persist(self._pop)
                if notices is not None:
                    self._take(notices)
                if loop.time() - self._swept > SWEEP:
                    self._sweep()
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who waits
            # Refused for good, or closed: nobody will be told any more.
            self._listening = None
            self._fail_all(error)

    async def _pop(self, link: "Link") -> bytes | None:
        if link is not self._link:
            if self._link is not None:
                self._mistrust_announcements()
            self._link = link
        reply = await link.call("BLPOP", self._inbox_key, BLOCK)
        return None if reply is None else cast("list[bytes]", reply)[1]

    def _take(self, notices: bytes) -> None:
        tickets = self._tickets
        for line in notices.split(b"\n"):
            job_id, _, outcome = line.partition(b" ")
            if not job_id:
                self._give_up(outcome.decode(errors="replace"))
                continue
            # Whatever a stranger pushes here: no id of ours looks like it.
            ticket = tickets.get(job_id.decode(errors="replace"))
            if ticket is None:
                continue  # nobody holds this job any more
            if outcome:
                ticket.resolve(outcome, is_certain=False)
            else:  # too long to come along: fetch it
                self._subscriptions.add(ticket)

    def _give_up(self, echo: str) -> None:
        for ticket in self._unknown.pop(echo, ()):
            if ticket.outcome is None:
                ticket.fail(JobNotFound(job_id=ticket.job_id))

    def _mistrust_announcements(self) -> None:
        self._unknown.clear()  # its echo may be lost: the sweep asks again
        for ticket in list(self._tickets.values()):
            ticket.is_announced = ticket in self._awaited
        self._sweep()

    def _sweep(self) -> None:
        self._swept = asyncio.get_running_loop().time()
        for ticket in self._awaited:
            self._subscriptions.add(ticket)

    async def _subscribe(self, tickets: list[Ticket]) -> None:
        try:
            found = await self._results.subscribe(self.inbox, [t.job_id for t in tickets])
        except BrokerError as error:
            for ticket in tickets:
                ticket.is_announced = False
                ticket.fail(error)
            return
        unknown: list[Ticket] = []
        for ticket, standing in zip(tickets, found, strict=True):
            match standing:
                case bytes():
                    ticket.resolve(standing, is_certain=True)
                case Subscription.WILL_TELL:
                    pass
                case Subscription.NO_RESULT:
                    ticket.is_announced = False
                    ticket.fail(ResultNotKept())
                case Subscription.UNKNOWN:
                    ticket.is_announced = False
                    unknown.append(ticket)
        if unknown:
            await self._await_echo(unknown)

    async def _await_echo(self, tickets: list[Ticket]) -> None:
        echo = secrets.token_hex(4)
        self._unknown[echo] = tickets
        try:
            await self._results.ping(self.inbox, echo)
        except BrokerError as error:
            for ticket in self._unknown.pop(echo, ()):
                ticket.fail(error)

    def _fail_all(self, error: Exception) -> None:
        for ticket in list(self._awaited):
            ticket.fail(error)


def _as_it_is(value: object) -> object:
    return value
