"""Steps in any order: no limit is passed, and no limit with room has jobs that wait.

The jobs of an order run one after the other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
from aiostreamq.store.cancellation import Cancellation
from tests.support.limits import TASK, Limits, backlog
from tests.support.random_examples import scaled
from tests.support.store import ENVELOPE, HOUR_MS, Store, outcome_of

HISTORIES = settings(
    max_examples=scaled(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Limits of single kinds of jobs, one that many share, and a rate that has no room again in a
#: history, but for what the first moment brings.
RULES = {"c=a": 2, "c=b": 1, "c=all": 3}
RATE = "r=rare"
RARE = (2, 3_600_000)  # this many an hour

BACKLOGS = [
    backlog("c=a"),
    backlog("c=b", task="other"),
    backlog("c=a", "c=all"),
    backlog("c=b", "c=all"),
    backlog("c=all", lane="slow"),
    backlog("c=all", RATE),
    backlog(RATE, "c=b"),
    backlog("o=x"),
    backlog("o=x", "c=a"),
    backlog("o=x", lane="slow"),
    backlog("o=y", "c=all", task="other"),
]
ORDERS = ("o=x", "o=y")
TASKS = (TASK, "other")
WORKERS = ("w1", "w2")

#: An envelope that has waited too long when it is looked at.
EXPIRED = ENVELOPE[:-1] + b',"expires":1}'

Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("enqueue", "enqueue", "enqueue", "expired", "admit", "admit", "admit", "settle"),
                *("settle", "retry", "later", "requeue", "park", "recover", "cancel", "cancel"),
                *("cut", "declare", "partly", "foreign", "twice"),
            ]
        ),
        st.integers(0, 20),
        st.integers(0, 6),
    ),
    max_size=50,
)


class Hand(NamedTuple):
    """A delivery that a worker has."""

    worker: str
    delivery: Delivery


class History:
    """One queue, and what its workers have."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.limits = Limits(store)
        self.most = dict(RULES)
        self.hands: list[Hand] = []
        self.names: dict[str, str] = {}  # the backlog of each job
        self.open: set[str] = set()
        self.runs = Counter[str]()
        self.lines: dict[str, list[str]] = {token: [] for token in ORDERS}  # all that came

    async def begin(self) -> None:
        """Declare the rules."""
        await self.limits.open()
        for token, most in RULES.items():
            await self.limits.rule(token, str(most))
        count, period = RARE
        await self.limits.rule(RATE, f"{count} {period} {count}")

    async def play(self, history: list[Step]) -> None:
        """Take all steps, look after each, and end it all."""
        await self.begin()
        for step, one, other in history:
            await getattr(self, f"do_{step}")(one, other)
            await self.look()
        await self.drain()

    # --- what happens

    async def do_enqueue(self, one: int, other: int) -> None:
        """Some jobs come."""
        await self._enqueue(BACKLOGS[one % len(BACKLOGS)], 1 + other % 3)

    async def do_expired(self, one: int, _: int) -> None:
        """One comes that has waited too long already."""
        await self._enqueue(BACKLOGS[one % len(BACKLOGS)], 1, EXPIRED)

    async def _enqueue(self, name: str, count: int, envelope: bytes = ENVELOPE) -> None:
        ids = [f"j{len(self.names) + at}" for at in range(count)]
        await self.limits.enqueue(*ids, backlog=name, envelope=envelope)
        self.names |= dict.fromkeys(ids, name)
        for token in {*name.split()} & {*ORDERS}:
            self.lines[token] += ids
        self.open.update(ids)

    async def do_admit(self, one: int, other: int) -> None:
        """A worker looks for jobs."""
        await self._admit(1 + one % 5, WORKERS[other % 2], TASKS)

    async def do_partly(self, one: int, other: int) -> None:
        """A worker looks that does not know all tasks."""
        await self._admit(1 + one % 5, WORKERS[other % 2], TASKS[:1])

    async def _admit(self, count: int, worker: str, tasks: tuple[str, ...]) -> int:
        seen = await self.limits.look(count, worker, tasks=tasks)
        # A look brings those too whose reply was lost.
        for delivery in seen.read.deliveries:
            self.hands.append(Hand(worker, delivery))
            await self._look_at_turn(delivery)
        return len(seen.read.deliveries)

    async def do_settle(self, one: int, _: int) -> None:
        """A job ends, maybe as dead."""
        if hand := self._pick(one):
            outcome = outcome_of(hand.delivery)
            settlement = Settlement(hand.delivery, HOUR_MS, outcome, is_dead=one % 3 == 0)
            settled = await self.store.deliveries.settle([settlement], hand.worker)
            assert not settled.refused
            if settled.ended:
                self._end(hand.delivery)

    async def do_twice(self, one: int, _: int) -> None:
        """The reply of a settle is lost, and it is repeated."""
        if hand := self._pick(one):
            settlement = Settlement(hand.delivery, HOUR_MS, outcome_of(hand.delivery))
            ended = (await self.store.deliveries.settle([settlement], hand.worker)).ended
            await self.store.deliveries.settle([settlement], hand.worker)
            if ended:
                self._end(hand.delivery)

    async def do_retry(self, one: int, _: int) -> None:
        """A job fails, and is to run again at once."""
        if hand := self._pick(one):
            assert not await self.store.delayed.retry([RetryRequest(hand.delivery, 0)])
            await self._meet(hand.worker)

    async def do_later(self, one: int, _: int) -> None:
        """A job fails, and is to run again later."""
        if hand := self._pick(one):
            assert not await self.store.delayed.retry([RetryRequest(hand.delivery, 1)])

    async def do_requeue(self, one: int, _: int) -> None:
        """A worker leaves a job to others."""
        if hand := self._pick(one):
            await self.store.deliveries.requeue([hand.delivery])
            await self._meet(hand.worker)

    async def do_park(self, one: int, _: int) -> None:
        """A job is set aside."""
        if hand := self._pick(one):
            await self.store.parking.park([(hand.delivery, TASK)])

    async def do_recover(self, one: int, _: int) -> None:
        """A worker dies, and is recovered; another reads what it had."""
        name = WORKERS[one % 2]
        await self.store.workers.join(name, 1000)
        beat = (await self.store.hash_at(self.store.keys.workers))[name]
        await self.store.workers.recover(name, beat, 100)
        self.hands = [hand for hand in self.hands if hand.worker != name]
        await self._meet("w3")

    async def do_cut(self, one: int, _: int) -> None:
        """The reply of a look is lost, and the worker's own look finds what it has brought."""
        worker = WORKERS[one % 2]
        await self.limits.look(2, worker, tasks=TASKS)
        known = {(hand.delivery.stream, hand.delivery.entry) for hand in self.hands}
        own = await self.store.deliveries.read_own(self.store.link, worker, 100, known)
        self.hands += [Hand(worker, delivery) for delivery in own.deliveries]

    async def do_cancel(self, one: int, _: int) -> None:
        """A job is cancelled, in whatever state it is."""
        jobs = sorted(self.names)
        if jobs:
            job = jobs[one * 7 % len(jobs)]
            (state,) = await Cancellation(self.store.queue).cancel([job])
            if state in {b"held", b"delayed", b"parked", b"queued"}:
                self.open.discard(job)

    async def do_declare(self, one: int, other: int) -> None:
        """An operator sets a rule, or takes it back."""
        token = sorted(RULES)[one % len(RULES)]
        most = (None, 1, 2, 5)[other % 4]
        self.most[token] = RULES[token] if most is None else most
        await self.limits.operate(token, "" if most is None else str(most))

    async def do_foreign(self, one: int, _: int) -> None:
        """The entry of a job that runs is deleted by another program, and its body ends then."""
        if hand := self._pick(one):
            stream = self.store.queue.streams[hand.delivery.stream - 1]
            await self.store.call("XDEL", stream, hand.delivery.entry)
            settlement = Settlement(hand.delivery, HOUR_MS, outcome_of(hand.delivery))
            settled = await self.store.deliveries.settle([settlement], hand.worker)
            if settled.ended:
                self._end(hand.delivery)

    def _pick(self, one: int) -> Hand | None:
        return self.hands.pop(one % len(self.hands)) if self.hands else None

    def _end(self, delivery: Delivery) -> None:
        self.runs[delivery.job_id] += 1
        self.open.discard(delivery.job_id)

    async def _meet(self, worker: str) -> None:
        """Read what is in the lanes, and hold it, as it has no permits."""
        for delivery in await self.store.read(worker):
            assert delivery.permits is None, "nothing in a lane has permits"
            await self.limits.hold(delivery, backlog=self.names[delivery.job_id])

    # --- what must hold

    async def look(self) -> None:
        """Fail if anything is not as it must be."""
        await self.limits.check()
        for token in RULES:
            await self._look_at(token)
        for token in ORDERS:
            await self._look_at_order(token)
        due = await self.limits.scores("due")
        ready = [name for name in await self.limits.members("ready") if RATE in name.split()]
        assert due.get(RATE) != float("inf") or ready, "the time of a rate passes unseen"

    async def _look_at_turn(self, delivery: Delivery) -> None:
        """Fail if a job runs before one that came earlier. One that is only to be ended may."""
        if delivery.envelope == EXPIRED and delivery.attempt == 1:
            return
        for token in {*self.names[delivery.job_id].split()} & {*ORDERS}:
            line = self.lines[token]
            before = {*line[: line.index(delivery.job_id)]}
            assert not before & await self._unended(), f"{delivery.job_id} came before {before}"

    async def _look_at_order(self, token: str) -> None:
        """Fail if an order is not that of its jobs, or nothing has a worker look at the first."""
        unended = await self._unended()
        line = [job for job in self.lines[token] if job in unended]
        members = await self.limits.members(f"order:{token}")
        assert members == line, token
        waiting = await self.limits.members(f"blocked:{token}")
        assert not line or not {self.names[line[0]]} & {*waiting} or await self._is_away(line[0])

    async def _is_away(self, job: str) -> bool:
        return await self.store.results.job_state(job) != b"held"

    async def _look_at(self, token: str) -> None:
        permits = await self.limits.permits(token)
        holders = {
            f"{hand.delivery.job_id} {hand.delivery.number}"
            for hand in self.hands
            if token in (hand.delivery.permits or b"").decode().split()
        }
        assert permits == holders, token
        ready, due = await self.limits.members("ready"), await self.limits.scores("due")
        if token in due and len(permits) < self.most[token]:
            is_next = any(token in name.split() for name in ready)
            assert is_next or due[token] != float("inf"), f"{token} has room, and nothing comes"

    async def drain(self) -> None:
        """Have workers do all that is left; nothing is left then, and each job has run once."""
        await self.limits.operate(RATE, "0 1 1")  # what is parsed as none would let all pass
        await self.limits.operate(RATE, "1000000 1 1000000")
        for token in RULES:
            await self.limits.operate(token, "")
        self.most = dict(RULES)
        await self._work(TASKS[:1])
        left = {job for job in await self._unended() if self.names[job].split()[1] == TASK}
        assert not left, "jobs of one task wait for those of another that no worker runs"
        await self._work(TASKS)
        assert not await self._unended()
        assert set(self.runs.values()) <= {1}
        assert await self.limits.is_left() == set()

    async def _unended(self) -> set[str]:
        """Return the jobs without an outcome. One that was cancelled may have ended on its way."""
        keys = self.store.keys
        return {job for job in self.open if not await self.store.call("EXISTS", keys.result(job))}

    async def _work(self, tasks: tuple[str, ...]) -> None:
        """Do all that a worker finds which knows these tasks."""
        idle = 0
        while idle < 3:
            await self.store.delayed.promote()
            await self.store.parking.unpark([TASK])
            await self._meet("w3")
            found = await self._admit(3, "w3", tasks)
            idle = 0 if found or self.hands else idle + 1
            while self.hands:
                await self.do_settle(1, 0)
                await self.look()


@HISTORIES
@given(history=steps)
def test_limits_hold_and_no_backlog_is_forgotten(store_url: str, history: list[Step]) -> None:
    """After each step all fits together, and at the end each job has run once."""

    async def run() -> None:
        async with Store(store_url) as store:
            await store.call("FLUSHALL")
            await store.queue.create_groups(store.link)
            await History(store).play(history)

    asyncio.run(run())
