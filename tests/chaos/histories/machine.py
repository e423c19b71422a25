"""One queue and its account, side by side: what all steps of a history are made of."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from aiostreamq.model.delivery import Delivery, Mark
from aiostreamq.store.roster import Roster
from aiostreamq.store.schedule import Schedule
from tests.chaos.histories.reference import RETURNED, Held, Job, Reference
from tests.chaos.histories.whereabouts import state_of
from tests.support.store import ENVELOPE, Store

LINES = (RETURNED, "default", "slow")

LEASE_MS = 1_000

LONG_AGO = "1000"
FAR_OFF = "99999999999999"

T = TypeVar("T")

ids = st.sampled_from([f"j{number}" for number in range(6)])
some_ids = st.lists(ids, min_size=1, max_size=3)
workers = st.sampled_from(["a", "b", "c"])
picks = st.lists(st.integers(0, 30), min_size=1, max_size=3)


class Machine(RuleBasedStateMachine):
    """What is known of both, and how a step is done and checked."""

    runner: ClassVar[asyncio.Runner]
    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(self.store.broker)
        self.roster = Roster(self.store.broker)
        self.model = Reference()
        #: what the workers have in their hands, be it theirs still or not, by stream and entry
        self.hands: dict[tuple[int, bytes], tuple[str, Delivery]] = {}
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

    def add(
        self, job_ids: list[str], lane: str, mark: Mark, place: str, *, is_due: bool = False
    ) -> set[int]:
        """Tell the account of new jobs; returns the places of ids that were taken."""
        taken: set[int] = set()
        for at, job_id in enumerate(job_ids):
            job = Job(job_id, lane, wants_result=mark is not Mark.NO_RESULT, is_due=is_due)
            job.is_awaited = mark is Mark.CALLER
            if not self.model.add(job, place):
                taken.add(at)
        return taken

    def take(self, worker: str, found: list[Delivery]) -> None:
        """Put deliveries into the hands of *worker*."""
        self.hands |= {(one.stream, one.entry): (worker, one) for one in found}

    def pick(self, at: list[int]) -> list[Delivery]:
        """Some of what is in somebody's hands, each once."""
        hands = list(self.hands.values())
        return [hands[place][1] for place in {place % len(hands): None for place in at}]

    def let_go(self, at: list[int]) -> list[Delivery]:
        """The same, to be given up by who has it."""
        chosen = self.pick(at)
        for one in chosen:
            del self.hands[one.stream, one.entry]
        return chosen

    def model_status(self, job_id: str) -> str | None:
        """What asking for a job should find."""
        job = self.model.jobs.get(job_id)
        if job is None or job.place != "ended":
            return None if job is None else job.place
        return job.state if job.is_kept else "done"

    async def told_status(self, job_id: str) -> str | None:
        """What asking for a job finds."""
        told = await self.store.broker.status(job_id)
        if told is None or not told.startswith(b"{"):
            return None if told is None else told.decode()
        return state_of(told)


async def _wait(awaitable: Awaitable[T]) -> T:
    return await awaitable


def held(delivery: Delivery) -> Held:
    """What the account knows a delivery by."""
    assert delivery.envelope == ENVELOPE
    return delivery.job_id, delivery.number, delivery.attempt
