"""One queue and its account, side by side: what all steps of a history are made of."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from aiostreamq.model.delivery import Delivery, EntryRef, Settlement
from aiostreamq.model.keys import ADMITTED, OVERFLOW
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.clock import ServerClock
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.held import HeldJobs
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.workers import WorkerRegistry
from tests.chaos.histories.job import NOON, TASKS
from tests.chaos.histories.pauses import RETURNED
from tests.chaos.histories.reference import Held, Reference
from tests.chaos.histories.stepped_worker import SteppedWorker
from tests.chaos.histories.whereabouts import Sight, look, state_of
from tests.support.store import HOUR_MS, Store

if TYPE_CHECKING:
    from aiostreamq.store.connection.reconnecting import ReconnectingLink

LINES = (RETURNED, "default", "slow", *OVERFLOW.values(), ADMITTED)

LEASE_MS = 1_000

LONG_AGO = "1000"
FAR_OFF = "99999999999999"

T = TypeVar("T")

NAMES = ("a", "b", "c")

ids = st.sampled_from([f"j{number}" for number in range(8)])
some_ids = st.lists(ids, min_size=1, max_size=3)
#: Of jobs that come held.
held_ids = st.lists(st.sampled_from([f"h{number}" for number in range(8)]), min_size=1, max_size=3)
workers = st.sampled_from(NAMES)
picks = st.lists(st.integers(0, 30), min_size=1, max_size=3)


class Hand(NamedTuple):
    """A delivery that a worker has, be it theirs still or not."""

    worker: str
    delivery: Delivery
    unrun: Settlement | None  #: how it ends, if it is not to be run


class _NoLine:
    """Leads nowhere: it is the history that says what time it is."""

    opened = 0
    is_up = True


class Machine(RuleBasedStateMachine):
    """What is known of both, and how a step is done and checked."""

    runner: ClassVar[asyncio.Runner]
    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.schedule = DelayedJobs(self.store.queue)
        self.roster = WorkerRegistry(self.store.queue)
        self.steering = Cancellation(self.store.queue)
        self.pauses = PauseStore(self.store.queue)
        self.parking = ParkedJobs(self.store.queue)
        self.held_jobs = HeldJobs(self.store.queue)
        self.model = Reference()
        self.clock = ServerClock(cast("ReconnectingLink", _NoLine()))
        self.clock.set(NOON - HOUR_MS)
        self.is_strict = False
        self.workers: dict[str, SteppedWorker] = {}
        self.hands: dict[EntryRef, Hand] = {}  #: by stream and entry
        self.again: Callable[[], object] | None = None

    def run(self, awaitable: Awaitable[T]) -> T:
        """Carry out one step of Redis."""
        return self.runner.get_loop().run_until_complete(_wait(awaitable))

    def check(self, call: Callable[[], Awaitable[T]], expected: T) -> None:
        """Do it, and get the answer that is expected."""
        assert self.run(call()) == expected

    def repeatable(self, call: Callable[[], Awaitable[T]], expected: T) -> None:
        """Note how the step is repeated, and what the repetition answers."""
        self.again = lambda: self.check(call, expected)

    def start(self, name: str) -> None:
        """Start a worker, with empty hands, and whether or not one of that name was there."""
        self.hands = {key: hand for key, hand in self.hands.items() if hand.worker != name}
        self.workers[name] = SteppedWorker(self.store, name, self.clock, is_strict=self.is_strict)

    def pick(self, at: list[int]) -> list[Hand]:
        """Some of what is in somebody's hands, each once."""
        hands = list(self.hands.values())
        return [hands[place] for place in {place % len(hands): None for place in at if hands}]

    def let_go(self, at: list[int]) -> list[Delivery]:
        """The same, to be given up by who has it."""
        chosen = [hand.delivery for hand in self.pick(at)]
        for one in chosen:
            del self.hands[key_of(one)]
        return chosen

    def look(self) -> Sight:
        """Look at everything in Redis."""
        return self.run(look(self.store, LINES, list(TASKS)))

    async def told_status(self, job_id: str) -> str | None:
        """What asking for a job finds."""
        return told(await self.store.results.job_state(job_id))

    async def hear(self, worker: SteppedWorker) -> set[str]:
        """Have a worker ask what is paused; returns what it goes by then."""
        await worker.pauses.load()
        return worker.pauses.paused


async def _wait(awaitable: Awaitable[T]) -> T:
    return await awaitable


def key_of(delivery: Delivery) -> EntryRef:
    """By what a delivery is known in the hands."""
    return delivery.stream, delivery.entry


def held(delivery: Delivery) -> Held:
    """By what the account knows it."""
    return delivery.job_id, delivery.number, delivery.attempt


def told(answer: bytes | None) -> str | None:
    """Where a job stands, as scripts tell it: an outcome, or one word."""
    if answer is None or not answer.startswith(b"{"):
        return None if answer is None else answer.decode()
    return state_of(answer)
