"""One job, as the account knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from aiostreamq.model.job_transitions import Stage
from aiostreamq.model.limits import Concurrency, Limit, Rate

#: Ms since 1970, in the year 2100: when jobs expire that do.
NOON = 4_102_444_800_000


class Call(NamedTuple):
    """What is enqueued."""

    task: str
    envelope: bytes
    expires: bool = False  #: whether its first run is not begun after NOON
    has_deadline: bool = False  #: whether no run is
    is_too_late: bool = False  #: whether its time to begin was over when it came
    tenant: str = ""  #: whose limit it needs, where its task has limits
    account: str = ""  #: whose jobs run one after the other, if its task has an order
    cost: int = 1  #: what it takes of the rate

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its limits, as Redis knows them."""
        if self.account:
            return (f"o=book.account:{self.account}",)
        return (f"c=sync.tenant:{self.tenant}", RATE) if self.tenant else ()

    @property
    def costs(self) -> str:
        """The cost under each of them, as Redis knows it."""
        return "" if self.cost == 1 else f"1 {self.cost}"

    def backlog(self, lane: str) -> str:
        """Where it waits for them."""
        return " ".join((lane, self.task, *self.tokens))


SIZE = Call("size", b'{"v":1,"task":"size","args":[1]}')
WEIGH = Call("weigh", b'{"task":"weigh"}')
BEFORE_NOON = Call("size", b'{"task":"size","expires":4102444800000}', expires=True)
OVER_BY_NOON = Call("weigh", b'{"task":"weigh","deadline":4102444800000}', has_deadline=True)

RATE = "r=api"

SYNC_A = Call("sync", b'{"task":"sync","args":["a"]}', tenant="a")
SYNC_B = Call("sync", b'{"task":"sync","args":["b"]}', tenant="b")
SYNC_TWICE = Call("sync", b'{"task":"sync","args":["a",2]}', tenant="a", cost=2)
SYNC_BEFORE_NOON = Call(
    "sync", b'{"task":"sync","args":["b"],"deadline":4102444800000}', has_deadline=True, tenant="b"
)
SYNC_TOO_LATE = Call(
    "sync", b'{"task":"sync","args":["a"],"expires":1000}', is_too_late=True, tenant="a"
)
BOOK_A = Call("book", b'{"task":"book","args":["a"]}', account="a")
BOOK_B = Call("book", b'{"task":"book","args":["b"]}', account="b")
BOOK_BEFORE_NOON = Call(
    "book",
    b'{"task":"book","args":["a"],"deadline":4102444800000}',
    has_deadline=True,
    account="a",
)
BOOK_TOO_LATE = Call(
    "book", b'{"task":"book","args":["a"],"expires":1000}', is_too_late=True, account="a"
)
ORDERED = (BOOK_A, BOOK_A, BOOK_B, BOOK_BEFORE_NOON, BOOK_TOO_LATE)
LIMITED = (SYNC_A, SYNC_A, SYNC_B, SYNC_TWICE, SYNC_BEFORE_NOON, SYNC_TOO_LATE, *ORDERED)

#: What the task `sync` is under. What is charged to the rate stays so until the history says that
#: it is paid off: a day is longer than any history.
LIMITS: list[Limit] = [
    Concurrency(1, key="tenant"),
    Rate("1/d", name="api", burst=3, cost="tokens"),
]

#: How much room there is under a limit of each kind.
ROOM = {"c": 1, "r": 3}

#: The tasks, and the lane of each: what was returned belongs to that, wherever it came from.
TASKS = {"size": "default", "weigh": "slow", "sync": "default", "book": "default"}


@dataclass
class Job:
    """One job, and where it is.

    One that is cancelled while it waits in a line has ended, and keeps its place there until
    it is met. One that runs then ends with whatever becomes of its delivery.
    """

    id: str
    line: str  #: the line that it waits in, was delivered from, or goes to when it is due
    call: Call
    wants_result: bool = True  #: whether it was enqueued to keep its outcome
    #: "queued", "running", "delayed", "parked", "held", or "ended": nowhere any more
    place: str = ""
    order: int = 0  #: of its entry among all entries
    backlog: str = ""  #: where it is or was held, and will be again
    turn: int = 0  #: its place in line there
    permits: tuple[str, ...] = ()  #: the limits that it has room under while it is running
    charge: int = 0  #: what it was charged to the rate while it is running
    owner: str = ""  #: who has it while it is running
    is_due: bool = False
    is_awaited: bool = False  #: whether an inbox is told of its end
    is_cancelled: bool = False  #: whether that was asked for before it had an end
    number: int = 1
    attempt: int = 1
    deaths: int = 0  #: how many workers were lost with it since its last attempt
    marked: int = 0  #: number of the delivery that was noted as run, after a worker was lost
    state: str = ""  #: how it ended
    is_kept: bool = False  #: whether its outcome can be looked up
    ended_by: int = 0  #: number of the delivery that ended it; 0 where none did

    @property
    def stage(self) -> Stage:
        """The state that Redis holds."""
        if self.place == "ended":
            return Stage(self.state)
        if self.state:
            return Stage.CANCELLED_IN_LANE
        return Stage.CANCELLING if self.is_cancelled else Stage(self.place)

    @property
    def status(self) -> str:
        """What asking for it finds."""
        if not self.state:
            return self.place
        is_told = self.is_kept or (self.state == "cancelled" and not self.ended_by)
        return self.state if is_told else "done"

    @property
    def is_limited(self) -> bool:
        """Whether it is not to be started after NOON: what expires is the wait for a first run."""
        return self.call.has_deadline or (self.call.expires and self.attempt == 1)

    @property
    def is_too_late(self) -> bool:
        """Whether it is not to be started whatever the time."""
        return self.call.is_too_late and self.attempt == 1
