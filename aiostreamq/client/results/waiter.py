"""Awaited outcomes: the waits of one process for the ends of jobs.

The outcome of a job is stored under `result:<id>`. A wait for a job that was not announced at its
enqueue looks it up (`lookups`): that returns the outcomes of jobs that have ended, and asks for
hints of the others, which arrive in the `inbox`. The ticket of a job holds its outcome.
"""

import asyncio
import os
from typing import TYPE_CHECKING

from aiostreamq.client.current_job import JOB
from aiostreamq.client.results.inbox import Inbox
from aiostreamq.client.results.lookups import Lookups
from aiostreamq.client.results.missing_streams import Strays
from aiostreamq.client.results.tickets import ANNOUNCED, NEW, Ticket, Tickets
from aiostreamq.errors import JobError, QueueUnavailable, WaitTimeout
from aiostreamq.model.outcome import UNREADABLE, Outcome, Unreadable, decode_outcome
from aiostreamq.store.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.current_job import Lender
    from aiostreamq.client.job_event_follower import EventFollower
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.model.info import WorkerInfo
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.queue import QueueStore


class ResultWaiter:
    """The waits of one process for the outcomes of jobs."""

    def __init__(self, store: "QueueStore", spec_of: "Callable[[str], TaskSpec | None]") -> None:
        self.spec_of = spec_of  #: finds a task's spec, to restore its results
        self.inbox = os.urandom(8).hex()  #: the name of our inbox
        #: tasks whose jobs were awaited here: their next jobs are announced at their enqueue
        self.awaited_tasks: set[str] = set()
        self._store = store
        self._tickets = Tickets()
        strays = Strays(self._workers)
        self._lookups = Lookups(Results(store), self.inbox, self._tickets, strays)
        self._inbox = Inbox(
            store.connector, store.keys.inbox(self.inbox), self._tickets, self._lookups
        )
        self._is_closed = False
        self._follower: EventFollower | None = None

    @property
    def follower(self) -> "EventFollower":
        """The reader of job events, created at the first use."""
        if self._follower is None:
            from aiostreamq.client.job_event_follower import EventFollower

            self._follower = EventFollower(self._store)
        return self._follower

    def ticket(self, job_id: str) -> Ticket:
        """Return the ticket of a job, which all waits for its outcome share.

        If its outcome is known already, this is a new ticket: the job may have been replayed.
        """
        ticket = self._tickets.by_id.get(job_id)
        if ticket is None or ticket.outcome is not None:
            ticket = self._tickets.by_id[job_id] = Ticket(job_id, self)
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
        ticket = Ticket(job_id, self, ANNOUNCED if is_announced else NEW)
        self._tickets.by_id[job_id] = ticket
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
                if not ticket.doubt(raw):
                    raise JobError(UNREADABLE, job_id=ticket.job_id) from error

    async def _wait(self, ticket: Ticket) -> bytes:
        if ticket.outcome is not None:
            return ticket.outcome
        if self._is_closed:
            raise QueueUnavailable("the queue was closed while its result was awaited")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        ticket.futures.append(future)
        self._tickets.awaited.add(ticket)
        if ticket.state is NEW:
            ticket.state = ANNOUNCED
            self._lookups.add(ticket)
        if self._inbox.listening is None:
            self._inbox.listen()
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
                self._tickets.awaited.discard(ticket)

    async def _workers(self) -> "list[WorkerInfo]":
        from aiostreamq.client.info import look_at_workers  # only if jobs may be lost

        return await look_at_workers(self._store)

    def _lending(self) -> "tuple[Lender, EntryRef] | None":
        """Return the lender and key of the run that awaits a job here, or None if there is none."""
        job = JOB.get()
        if job is None:
            return None
        *_, lender, key = job
        if lender is None or key is None or lender.queue != self._store.keys.queue:
            return None
        return lender, key

    def hear_calls(self, on_call: "Callable[[str], None]") -> None:
        """Call *on_call* with the token of each lock whose turn it is; "" for all."""
        self._inbox.on_call = on_call
        if self._inbox.listening is None and not self._is_closed:
            self._inbox.listen()

    def close(self) -> None:
        """Stop listening; current waits get QueueUnavailable."""
        self._is_closed = True
        self._inbox.close()
        self._tickets.fail(QueueUnavailable("the queue was closed while its result was awaited"))
        if self._follower is not None:
            self._follower.close()

    async def wait_closed(self) -> None:
        """Wait until everything has stopped after `close`."""
        if self._follower is not None:
            await self._follower.wait_closed()
        await self._inbox.join()

    def abandon(self) -> None:
        """Drop the connections of an event loop that is not running."""
        self._is_closed = True
        self._inbox.abandon()
        if self._follower is not None:
            self._follower.abandon()


def _as_it_is(value: object) -> object:
    return value
