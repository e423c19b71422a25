"""Look-ups of awaited jobs: what has ended already, and a subscription to all else.

If a job is unknown to Redis, its end may still be among the hints that were not read
yet: in a busy process, the outcome may expire before its hint is read. So the job
is given up only after all earlier hints were read, which an echo through the inbox shows.
"""

import os
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.batching import GroupCommit
from aiostreamq.client.results.missing_streams import LOST
from aiostreamq.client.results.tickets import KNOWN
from aiostreamq.errors import BrokerError, JobNotFound, ResultNotKept
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.results import SUBSCRIBE_LIMIT, Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.client.results.missing_streams import Strays
    from aiostreamq.client.results.tickets import Ticket, Tickets
    from aiostreamq.store.results import Results


class Lookups:
    """The look-ups of one process, for which Redis sends hints to its inbox."""

    def __init__(
        self, results: "Results", inbox: str, tickets: "Tickets", strays: "Strays"
    ) -> None:
        self._results = results
        self._inbox = inbox
        self._tickets = tickets
        self._strays = strays
        #: look up a ticket, together with others that need it now
        self.add = GroupCommit["Ticket"](self._look_up, SUBSCRIBE_LIMIT).add
        self._sweep_over = GroupCommit["Ticket"](self._look_closely, SUBSCRIBE_LIMIT).add
        self._unknown: dict[str, list[Ticket]] = {}  # by the echo after which they are given up
        self.swept = 0.0  #: when all was looked up last, by the monotonic clock

    def sweep(self) -> None:
        """Look up everything that is awaited."""
        self.swept = clock.monotonic()
        for ticket in self._tickets.awaited:
            ticket.expect()
            self._sweep_over(ticket)

    def start_over(self) -> None:
        """Look up everything that is awaited, since hints and echoes may be lost."""
        self._unknown.clear()
        self._tickets.expect_nothing()
        self.sweep()

    def give_up(self, echo: str) -> None:
        """Fail the waits for jobs that are unknown, now that all hints before *echo* are read."""
        for ticket in self._unknown.pop(echo, ()):
            if ticket.outcome is None:
                ticket.fail(JobNotFound(job_id=ticket.job_id))

    async def _look_up(self, tickets: "list[Ticket]") -> None:
        await self._take(tickets, await self._subscribe(tickets))

    async def _look_closely(self, tickets: "list[Ticket]") -> None:
        """Look up tickets, and fail those whose jobs Redis has lost."""
        found = await self._subscribe(tickets, thorough=True)
        await self._take(tickets, found)
        strays = [t for t, one in zip(tickets, found, strict=True) if one is Subscription.STRAY]
        for ticket in await self._strays.note(strays, set(tickets).difference(strays)):
            _give_up_lost(ticket)

    async def _subscribe(
        self, tickets: "list[Ticket]", *, thorough: bool = False
    ) -> "Sequence[bytes | Subscription | None]":
        """Return what Redis answers about each; None if it refused, which fails the waits."""
        ids = [ticket.job_id for ticket in tickets]
        try:
            return await self._results.subscribe(self._inbox, ids, thorough=thorough)
        except BrokerError as error:
            middle = len(tickets) // 2
            if middle and isinstance(error, CallTooLarge):
                # Redis cannot send the outcome of one of them.
                halves = tickets[:middle], tickets[middle:]
                found = [await self._subscribe(half, thorough=thorough) for half in halves]
                return [*found[0], *found[1]]
            for ticket in tickets:
                ticket.expect_nothing()
                ticket.fail(error)
            return [None] * len(tickets)

    async def _take(
        self, tickets: "list[Ticket]", found: "Sequence[bytes | Subscription | None]"
    ) -> None:
        unknown: list[Ticket] = []
        for ticket, standing in zip(tickets, found, strict=True):
            match standing:
                case bytes():
                    ticket.resolve(standing, KNOWN)
                case Subscription.NO_RESULT:
                    ticket.expect_nothing()
                    ticket.fail(ResultNotKept())
                case Subscription.UNKNOWN:
                    ticket.expect_nothing()
                    unknown.append(ticket)
                case Subscription.LOST:
                    _give_up_lost(ticket)
                case _:  # the inbox will get a notice, or the wait has failed
                    pass
        if unknown:
            await self._await_echo(unknown)

    async def _await_echo(self, tickets: "list[Ticket]") -> None:
        echo = os.urandom(4).hex()
        self._unknown[echo] = tickets
        try:
            await self._results.ping(self._inbox, echo)
        except BrokerError as error:
            for ticket in self._unknown.pop(echo, ()):
                ticket.fail(error)


def _give_up_lost(ticket: "Ticket") -> None:
    ticket.expect_nothing()
    ticket.fail(JobNotFound(LOST, job_id=ticket.job_id))
