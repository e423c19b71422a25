"""Tickets: the jobs that this process may await, with the state of each outcome."""

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import asyncio

    from aiostreamq.model.outcome import Outcome


class TicketState(Enum):
    """The state of the outcome of one job, as this process sees it."""

    NEW = auto()  #: nothing: it must be looked up
    ANNOUNCED = auto()  #: its outcome will come through our inbox, or is being looked up
    HINTED = auto()  #: its outcome came through the inbox, into which any client of Redis can write
    KNOWN = auto()  #: its outcome was looked up: another look-up would not change it


# A member is read faster as a global than as an attribute of its class.
NEW = TicketState.NEW
ANNOUNCED = TicketState.ANNOUNCED
HINTED = TicketState.HINTED
KNOWN = TicketState.KNOWN


class OutcomeSource(Protocol):
    """The waiter of a ticket."""

    awaited_tasks: set[str]  #: tasks whose jobs were awaited here

    async def outcome(self, ticket: "Ticket", timeout: float | None = None) -> "Outcome":
        """Wait for the outcome of a job, at most *timeout* seconds."""
        ...


class Ticket:
    """One job that this process may await."""

    __slots__ = ("__weakref__", "futures", "job_id", "outcome", "state", "waiter")

    def __init__(self, job_id: str, waiter: OutcomeSource, state: TicketState = NEW) -> None:
        self.job_id = job_id
        self.waiter = waiter  #: the waiter that receives its outcome
        self.state = state
        self.outcome: bytes | None = None  #: JSON, if the state is HINTED or KNOWN
        self.futures: list[asyncio.Future[bytes]] = []  #: one for each current wait

    def resolve(self, outcome: bytes, state: TicketState) -> None:
        """Hand the outcome to all current waits; *state* is HINTED or KNOWN."""
        self.outcome = outcome
        self.state = state
        for future in self.futures:
            if not future.done():
                future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """Fail all current waits."""
        for future in self.futures:
            if not future.done():
                future.set_exception(error)

    def expect(self) -> None:
        """Note that its outcome will come through the inbox, or is being looked up."""
        if self.state is NEW:
            self.state = ANNOUNCED

    def expect_nothing(self) -> None:
        """Note that its outcome will not come by itself: the next wait looks it up."""
        if self.state is ANNOUNCED:
            self.state = NEW

    def doubt(self, outcome: bytes) -> bool:
        """Forget an unreadable outcome, so that the next wait looks it up.

        Returns:
            False if it is the stored outcome, which another look-up would not change.
        """
        if self.outcome is outcome:
            if self.state is KNOWN:
                return False
            self.outcome, self.state = None, NEW
        return True


class Tickets:
    """The tickets of this process."""

    def __init__(self) -> None:
        #: the ticket of the current job of each id, as long as a handle or a wait holds it
        self.by_id: WeakValueDictionary[str, Ticket] = WeakValueDictionary()
        #: those that are awaited now. Not keyed by id: an id that is used again has a ticket for
        #: each of its jobs
        self.awaited: set[Ticket] = set()

    def expect_nothing(self) -> None:
        """Note that the outcomes that were announced may never come."""
        for ticket in list(self.by_id.values()):
            ticket.expect_nothing()

    def fail(self, error: Exception) -> None:
        """Fail all current waits."""
        for ticket in list(self.awaited):
            ticket.fail(error)
