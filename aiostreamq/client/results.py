"""Awaited outcomes: one blocking read for all jobs that a process awaits.

The outcome of a job is stored under `result:<id>`. The inbox brings hints, which
usually contain the outcome. A hint can be lost, because BLPOP removes an item that it
may fail to deliver. So everything that is awaited is looked up again after
each loss of the connection, and regularly: the same `subscribe` that asks for hints
returns the outcomes of jobs that have already ended.

If a job is unknown to Redis, its end may still be among the hints that were not read
yet: in a busy process, the outcome may expire before its hint is read. So the job
is given up only after all earlier hints were read, which an echo through the inbox shows.
"""

import asyncio
import secrets
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from aiostreamq import clock
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
from aiostreamq.store.connection.blocking_read import BlockingRead
from aiostreamq.store.results import SUBSCRIBE_LIMIT, Results, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.current_job import Lender
    from aiostreamq.client.events import EventFollower
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.queue import QueueStore

# Seconds that one BLPOP blocks. At its end, an idle process also notices that its
# connection has died.
BLOCK = 5

# Seconds between two look-ups of everything that is awaited. Only lost hints wait for it.
SWEEP = 10.0


class Ticket:
    """One job that this process may await."""

    __slots__ = (
        *("__weakref__", "futures", "is_announced", "is_certain", "job_id", "outcome", "waiter"),
    )

    def __init__(self, job_id: str, waiter: "ResultWaiter", *, is_announced: bool = False) -> None:
        self.job_id = job_id
        self.waiter = waiter  #: the waiter that receives its outcome
        self.is_announced = is_announced  #: whether its outcome will come through our inbox
        self.outcome: bytes | None = None  #: JSON, once the job has ended
        self.is_certain = False  #: whether the outcome was looked up, and is not just a hint
        self.futures: list[asyncio.Future[bytes]] = []  #: one for each current wait

    def resolve(self, outcome: bytes, *, is_certain: bool) -> None:
        """Hand the outcome to all current waits."""
        self.outcome = outcome
        self.is_certain = is_certain
        for future in self.futures:
            if not future.done():
                future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """Fail all current waits."""
        for future in self.futures:
            if not future.done():
                future.set_exception(error)


class ResultWaiter:
    """The inbox of one process, and the waits for outcomes from it."""

    def __init__(self, broker: "QueueStore", spec_of: "Callable[[str], TaskSpec | None]") -> None:
        self.spec_of = spec_of  #: finds a task's spec, to restore its results
        self.inbox = secrets.token_hex(8)
        #: tasks whose jobs were awaited here: their next jobs are announced at their enqueue
        self.awaited_tasks: set[str] = set()
        self._broker = broker
        self._results = Results(broker)
        self._inbox_key = broker.keys.inbox(self.inbox)
        self._blocking = BlockingRead(
            broker.connector, "inbox", BLOCK, replaced=self._mistrust_announcements
        )
        self._tickets: WeakValueDictionary[str, Ticket] = WeakValueDictionary()
        # Not keyed by id: an id that is used again has a ticket for each of its jobs.
        self._awaited: set[Ticket] = set()
        self._subscriptions = GroupCommit[Ticket](self._subscribe, SUBSCRIBE_LIMIT)
        self._listening: OwnTask[None] | None = None
        self._unknown: dict[str, list[Ticket]] = {}  # by the echo after which they are given up
        self._swept = 0.0  # by the monotonic clock
        self._is_closed = False
        self._follower: EventFollower | None = None

    @property
    def follower(self) -> "EventFollower":
        """The reader of job events, created at the first use."""
        if self._follower is None:
            from aiostreamq.client.events import EventFollower

            self._follower = EventFollower(self.broker)
        return self._follower

    @property
    def broker(self) -> "QueueStore":
        """The broker of the jobs."""
        return self._broker

    def ticket(self, job_id: str) -> Ticket:
        """Return the ticket of a job, which all waits for its outcome share.

        If its outcome is known already, this is a new ticket: the job may have been replayed.
        """
        ticket = self._tickets.get(job_id)
        if ticket is None or ticket.outcome is not None:
            ticket = self._tickets[job_id] = Ticket(job_id, self)
        return ticket

    def restorer_of(self, task: str) -> "Callable[[object], object]":
        """Return the function that restores the chunks of *task* from JSON."""
        spec = self.spec_of(task)
        if spec is None or spec.signature is None or not spec.is_stream:
            return _as_it_is
        return spec.signature.restore_result

    def new_ticket(self, job_id: str, *, is_announced: bool = False) -> Ticket:
        """Return a ticket for a new job, whose id may have been used before.

        Args:
            job_id: The job's id.
            is_announced: Whether the job is enqueued with our inbox as its waiter.
        """
        ticket = self._tickets[job_id] = Ticket(job_id, self, is_announced=is_announced)
        return ticket

    async def outcome(self, ticket: Ticket, timeout: float | None = None) -> Outcome:
        """Wait for the outcome of a job, at most *timeout* seconds.

        Raises:
            WaitTimeout: *timeout* passed first.
            JobNotFound: The job does not exist, or not any more.
            JobError: This release cannot read its outcome.
            ResultNotKept: The job keeps no result.
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
                # A hint is looked up. If the stored outcome is unreadable, there is no other.
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
            self._swept = clock.monotonic()
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

    def _lending(self) -> "tuple[Lender, EntryRef] | None":
        """Return the lender and key of the run that awaits a job here, or None if there is none."""
        job = JOB.get()
        if job is None:
            return None
        *_, lender, key = job
        if lender is None or key is None or lender.queue != self._broker.keys.queue:
            return None
        return lender, key

    def _doubt(self, ticket: Ticket, outcome: bytes) -> bool:
        """Forget an unreadable outcome, so that the next wait looks it up.

        Returns:
            False if it is the stored outcome, which another look-up would not change.
        """
        if ticket.outcome is outcome:
            if ticket.is_certain:
                return False
            ticket.outcome = None
            ticket.is_announced = False
        return True

    def close(self) -> None:
        """Stop listening; current waits get QueueUnavailable."""
        self._is_closed = True
        self._blocking.close()
        if self._listening is not None:
            self._listening.end()
        self._fail_all(QueueUnavailable("the queue was closed while its result was awaited"))
        if self._follower is not None:
            self._follower.close()

    async def wait_closed(self) -> None:
        """Wait until everything has stopped after `close`."""
        if self._follower is not None:
            await self._follower.wait_closed()
        if self._listening is not None:
            await asyncio.wait([self._listening])

    def abandon(self) -> None:
        """Drop the connections of an event loop that is not running."""
        self._is_closed = True
        self._blocking.abandon()
        if self._follower is not None:
            self._follower.abandon()

    async def _listen(self) -> None:
        try:
            while True:
                notices = await self._blocking.persist(self._pop)
                if notices is not None:
                    self._take(notices)
                if clock.monotonic() - self._swept > SWEEP:
                    self._sweep()
        except Exception as error:  # noqa: BLE001  # whatever it is, the waits get it
            # Redis refused, or the queue was closed: no outcome will come any more.
            self._listening = None
            self._fail_all(error)

    async def _pop(self, link: "Link") -> bytes | None:
        reply = await link.call("BLPOP", self._inbox_key, BLOCK)
        return None if reply is None else cast("list[bytes]", reply)[1]

    def _take(self, notices: bytes) -> None:
        tickets = self._tickets
        for line in notices.split(b"\n"):
            job_id, _, outcome = line.partition(b" ")
            if not job_id:
                self._give_up(outcome.decode(errors="replace"))
                continue
            # Another program may push anything here: it will match no id of ours.
            ticket = tickets.get(job_id.decode(errors="replace"))
            if ticket is None:
                continue  # no handle of this job is left
            if outcome:
                ticket.resolve(outcome, is_certain=False)
            else:  # the outcome was too long for a hint: fetch it
                self._subscriptions.add(ticket)

    def _give_up(self, echo: str) -> None:
        for ticket in self._unknown.pop(echo, ()):
            if ticket.outcome is None:
                ticket.fail(JobNotFound(job_id=ticket.job_id))

    def _mistrust_announcements(self) -> None:
        self._unknown.clear()  # their echoes may be lost: the sweep asks again
        for ticket in list(self._tickets.values()):
            ticket.is_announced = ticket in self._awaited
        self._sweep()

    def _sweep(self) -> None:
        self._swept = clock.monotonic()
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
