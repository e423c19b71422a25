"""The scripts against a plain account of what they do, through thousands of short histories.

Each history is a handful of producers and workers, their crashes and their time, drawn at
random. After every step the queue is compared with `reference.py`: where each job is, which
delivery of it counts, how it ended. Nothing runs at once here; what races do is the matter of
the other tests in this directory, and each atomic step has its place in some order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aiostreamq.model.delivery import Delivery, Mark, Retrial, Settlement
from aiostreamq.model.outcome import Failure, JobState, encode_done, encode_ended, encode_unreadable
from aiostreamq.store import roster
from aiostreamq.store.broker import Standing
from aiostreamq.store.roster import Roster
from aiostreamq.store.schedule import Schedule
from tests.chaos.reference import MAX_DELIVERIES, RETURNED, Held, Job, Reference
from tests.chaos.whereabouts import look, state_of, whereabouts
from tests.support.ends import recent, states
from tests.support.redis_server import RedisServer
from tests.support.store import DEADLINE, ENVELOPE, HOUR_MS, Store

LINES = (RETURNED, "default", "slow")
UNREADABLE = encode_unreadable("why")

LEASE_MS = 1_000
REAP_LIMIT = 2  # small, so that workers are often found half recovered

T = TypeVar("T")

#: Steps of one history.
STEPS = 40

LONG_AGO = "1000"
FAR_OFF = "99999999999999"

ids = st.sampled_from([f"j{number}" for number in range(6)])
some_ids = st.lists(ids, min_size=1, max_size=3)
workers = st.sampled_from(["a", "b", "c"])
lanes = st.sampled_from(["default", "default", "slow"])
marks = st.sampled_from([Mark.NOBODY, Mark.CALLER, Mark.NO_RESULT])
picks = st.lists(st.integers(0, 30), min_size=1, max_size=3)


class Histories(RuleBasedStateMachine):
    """One queue and its account, side by side."""

    runner: ClassVar[asyncio.Runner]
    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(self.store.broker)
        self.roster = Roster(self.store.broker)
        self.model = Reference()
        #: what the workers have in their hands, be it theirs still or not, by stream and entry
        self.hands: dict[tuple[int, bytes], tuple[str, Delivery]] = {}
        self.told: list[str] = []
        self.again: Callable[[], object] | None = None

    @initialize()
    def begin(self) -> None:
        """Start with an empty queue."""
        self.run(self.store.call("FLUSHALL"))
        self.run(self.store.broker.set_up(self.store.link))

    # Producers

    @rule(job_ids=some_ids, lane=lanes, mark=marks)
    def enqueue(self, job_ids: list[str], lane: str, mark: Mark) -> None:
        """An id that is taken, be it in the same call, is left alone."""
        taken = self.add(job_ids, lane, mark, "queued")
        self.check(lambda: self.store.enqueue(*job_ids, lane=lane, mark=mark), taken)
        self.repeatable(lambda: self.store.enqueue(*job_ids, lane=lane, mark=mark), all_of(job_ids))

    @rule(job_ids=some_ids, lane=lanes, mark=marks, due=st.sampled_from([LONG_AGO, FAR_OFF]))
    def delay(self, job_ids: list[str], lane: str, mark: Mark, due: str) -> None:
        """The same for later; an id is taken whether its job is delayed or not."""
        taken = self.add(job_ids, lane, mark, "delayed", is_due=due == LONG_AGO)
        jobs = [(job_id, lane, mark, due, ENVELOPE) for job_id in job_ids]
        self.check(lambda: self.schedule.delay(jobs, "me", DEADLINE), taken)
        self.repeatable(lambda: self.schedule.delay(jobs, "me", DEADLINE), all_of(job_ids))

    @rule(job_ids=some_ids)
    def subscribe(self, job_ids: list[str]) -> None:
        """Each is told as it stands, or will be."""
        expected = [self.standing(job_id) for job_id in job_ids]
        for job_id, standing in zip(job_ids, expected, strict=True):
            if standing is Standing.WILL_TELL:
                self.model.jobs[job_id].is_awaited = True

        async def ask() -> list[str | Standing]:
            found = await self.store.broker.subscribe("me", job_ids)
            return [state_of(one) if isinstance(one, bytes) else one for one in found]

        self.check(ask, expected)
        self.repeatable(ask, expected)

    # Workers

    @rule(worker=workers)
    def join(self, worker: str) -> None:
        """A worker enters, or starts again under the name of one that is gone."""
        self.model.beats[worker] = f"0 {LEASE_MS}"
        self.check(lambda: self.roster.join(worker, LEASE_MS), None)
        self.repeatable(lambda: self.roster.join(worker, LEASE_MS), None)

    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        """Only who is among the living can show that it lives."""
        beat = self.model.beats.get(worker, "dead")
        if beat != "dead":
            counter = int(beat.partition(" ")[0]) + 1
            self.model.beats[worker] = f"{counter} {LEASE_MS}"
        self.check(lambda: self.roster.renew(worker, LEASE_MS), beat != "dead")
        self.again = None

    @rule(worker=workers, most=st.integers(1, 3), arrives=st.sampled_from([True, True, False]))
    def read(self, worker: str, most: int, *, arrives: bool) -> None:
        """A worker is sent what waits; sometimes the reply does not arrive."""
        found = self.run(self.store.read(worker, most))
        assert [held(one) for one in found] == self.model.read(worker, most, LINES)
        self.take(worker, found if arrives else [])

    @rule(worker=workers)
    def read_own(self, worker: str) -> None:
        """A worker finds all that it was sent, and nothing else."""
        found = self.run(self.store.broker.read_all_own(worker))
        expected = {(job.id, job.number, job.attempt) for job in self.model.held_by(worker)}
        assert {held(one) for one in found} == expected
        assert len(found) == len(expected)
        self.take(worker, found)

    @precondition(lambda self: self.hands)
    @rule(at=picks, state=st.sampled_from(["done", "failed"]), keep_ms=st.sampled_from([0, 1, 2]))
    def settle(self, at: list[int], state: str, keep_ms: int) -> None:
        """The latest delivery ends its job; an older one, or one of the dead, is refused."""
        keep_ms = (0, 30_000, HOUR_MS)[keep_ms]
        chosen = self.pick(at)
        refused = [
            one for one in chosen if not self.model.settle(held(one), state, is_kept=keep_ms > 0)
        ]
        batch = [
            Settlement(one, keep_ms, outcome(one, state), is_dead=state == "failed")
            for one in chosen
        ]
        self.check(lambda: self.refusals(batch), refused)
        self.repeatable(lambda: self.refusals(batch), refused)

    @precondition(lambda self: self.hands)
    @rule(at=picks, delay_ms=st.sampled_from([0, HOUR_MS]))
    def retry(self, at: list[int], delay_ms: int) -> None:
        """A job that failed goes round again, at once or later."""
        chosen = self.pick(at)
        place = "delayed" if delay_ms else "queued"
        refused = [one for one in chosen if not self.model.retry(held(one), place)]
        batch = [Retrial(one, delay_ms) for one in chosen]
        self.check(lambda: self.schedule.retry(batch), refused)
        self.repeatable(lambda: self.schedule.retry(batch), refused)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def hand_back(self, at: list[int]) -> None:
        """A worker that stops gives its jobs to others."""
        chosen = self.let_go(at)
        handed = sum(self.model.hand_back(held(one)) for one in chosen)
        self.check(lambda: self.store.broker.hand_back(chosen), handed)
        self.repeatable(lambda: self.store.broker.hand_back(chosen), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def park(self, at: list[int]) -> None:
        """A worker sets aside what it does not know."""
        chosen = self.let_go(at)
        parked = sum(self.model.park(held(one)) for one in chosen)
        batch = [(one, "t") for one in chosen]
        self.check(lambda: self.schedule.park(batch), parked)
        self.repeatable(lambda: self.schedule.park(batch), 0)

    @rule()
    def release(self) -> None:
        """A worker comes that knows it."""
        self.check(lambda: self.schedule.release(["t"]), self.model.release())
        self.repeatable(lambda: self.schedule.release(["t"]), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def bury(self, at: list[int]) -> None:
        """A worker meets what nobody can read."""
        chosen = self.let_go(at)
        buried = sum(self.model.bury(held(one)) for one in chosen)
        entries = [(one.stream, one.entry) for one in chosen]
        self.check(lambda: self.store.broker.bury(entries, UNREADABLE, "somebody"), buried)
        self.repeatable(lambda: self.store.broker.bury(entries, UNREADABLE, "somebody"), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def mark(self, at: list[int]) -> None:
        """A worker is about to run jobs; only of those that lost one it says so."""
        for one in self.pick(at):
            if self.model.mark(held(one)):
                self.check(lambda one=one: self.roster.mark(one), True)
                self.repeatable(lambda one=one: self.roster.mark(one), True)

    # Crashes. A worker that others take for dead may go on all the same.

    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        """All that a worker had in its hands is gone, and Redis knows nothing of it."""
        self.hands = {key: hand for key, hand in self.hands.items() if hand[0] != worker}
        self.again = None

    @rule(worker=workers, is_late=st.booleans())
    def reap(self, worker: str, *, is_late: bool) -> None:
        """A step of recovering what a worker had; none where it has shown life meanwhile."""
        self.recover(worker, is_late=is_late)
        self.again = None

    @rule(worker=workers, most=st.integers(1, 3), runs=st.booleans())
    def fall(self, worker: str, most: int, *, runs: bool) -> None:
        """A worker is taken for dead with what it has just been sent, and knows nothing of it."""
        self.read(worker, most, arrives=True)
        for owner, one in self.hands.values() if runs else ():
            if owner == worker and self.model.mark(held(one)):
                assert self.run(self.roster.mark(one))
        while self.recover(worker) == 0:
            self.renew(worker)  # in vain, once others have begun
        self.again = None

    @rule(worker=workers)
    def leave(self, worker: str) -> None:
        """A worker goes; one that has something left stays to be missed."""
        if not self.model.held_by(worker):
            self.model.beats.pop(worker, None)
        self.check(lambda: self.store.broker.leave(worker), None)
        self.repeatable(lambda: self.store.broker.leave(worker), None)

    # Time

    @rule(job_id=ids)
    def come_due(self, job_id: str) -> None:
        """The time of a delayed job comes."""
        job = self.model.jobs.get(job_id)
        if job is not None and job.place == "delayed":
            job.is_due = True
        delayed = self.store.keys.delayed
        self.run(self.store.call("ZADD", delayed, "XX", LONG_AGO, job_id))
        self.again = None

    @rule()
    def promote(self) -> None:
        """What is due goes where it waits for a worker."""

        async def promote() -> int:
            return (await self.schedule.promote())[0]

        self.check(promote, self.model.promote())
        self.repeatable(promote, 0)

    # Lost replies

    @precondition(lambda self: self.again)
    @rule()
    def repeat(self) -> None:
        """What was done last is done again, as after a lost reply: it changes nothing."""
        assert self.again is not None
        self.again()

    # What must hold

    @invariant()
    def each_job_is_where_it_should_be(self) -> None:
        """Each is in one place, as the delivery that counts."""
        places, self.told = self.run(look(self.store, LINES))
        assert places == {job.id: [whereabouts(job)] for job in self.model.jobs.values()}

    @rule(job_id=ids)
    def status(self, job_id: str) -> None:
        """It is told as it is."""
        assert self.run(self.told_status(job_id)) == self.model_status(job_id)

    def teardown(self) -> None:
        """Run what is left to its end: nothing stays but what expires."""
        for job_id in self.model.jobs:
            assert self.run(self.told_status(job_id)) == self.model_status(job_id)
        self.run(self.drain())
        self.each_job_is_where_it_should_be()
        assert sorted(self.told) == sorted(self.model.told), "each end is told once"
        self.run(self.check_letters())
        self.run(self.check_rest())

    # How it is done

    def run(self, awaitable: Awaitable[T]) -> T:
        """Carry out one step of Redis."""
        return self.runner.get_loop().run_until_complete(_wait(awaitable))

    async def refusals(self, batch: list[Settlement]) -> list[Delivery]:
        """End deliveries; returns what was refused."""
        return (await self.store.broker.settle(batch, "somebody")).refused

    def check(self, call: Callable[[], Awaitable[T]], expected: T) -> None:
        """Do it, and get the answer that is expected."""
        assert self.run(call()) == expected

    def repeatable(self, call: Callable[[], Awaitable[T]], expected: T) -> None:
        """Note how the step is repeated, and what the repetition answers."""
        self.again = lambda: self.check(call, expected)

    def recover(self, worker: str, *, is_late: bool = False) -> int:
        """Look at all workers and reap one; returns whether that is finished."""
        for job in self.model.jobs.values():
            if job.place == "running":
                self.model.beats.setdefault(job.owner, f"0 {LEASE_MS}")
        beats = self.run(self.roster.census(LEASE_MS, thorough=True))
        assert beats == self.model.beats
        beat = "0 7" if is_late else beats.get(worker, "none")
        expected = self.model.reap(worker, beat, REAP_LIMIT, LINES)
        self.check(lambda: self.roster.reap(worker, beat, MAX_DELIVERIES), expected)
        return expected[2]

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

    def standing(self, job_id: str) -> str | Standing:
        """What subscribing to a job should find."""
        job = self.model.jobs.get(job_id)
        if job is None:
            return Standing.UNKNOWN
        if job.place == "ended" and job.is_kept:
            return job.state
        if not job.wants_result:
            return Standing.NO_RESULT
        return Standing.UNKNOWN if job.place == "ended" else Standing.WILL_TELL

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

    async def drain(self) -> None:
        """Let everything come due, and end it: first by those who have it."""
        delayed = self.store.keys.delayed
        for job in self.model.jobs.values():
            job.is_due = job.place == "delayed"
            await self.store.call("ZADD", delayed, "XX", LONG_AGO, job.id)
        assert (await self.schedule.promote())[0] == self.model.promote()
        assert await self.schedule.release(["t"]) == self.model.release()
        for worker in ("a", "b", "c"):
            await self.end_all(await self.store.broker.read_all_own(worker))
        rest = await self.store.read("d")
        assert [held(one) for one in rest] == self.model.read("d", len(self.model.jobs), LINES)
        await self.end_all(rest)

    async def end_all(self, found: list[Delivery]) -> None:
        """Settle deliveries that are nobody else's."""
        for one in found:
            assert self.model.settle(held(one), "done", is_kept=True)
        ends = [Settlement(one, HOUR_MS, outcome(one, "done")) for one in found]
        assert await self.refusals(ends) == []

    async def check_letters(self) -> None:
        """What failed or was given up is among the dead letters, once; the latter is counted."""
        letters = [one["id"] for one in await self.store.stream_at(self.store.keys.dead)]
        failed = [job.id for job in self.model.jobs.values() if job.state == "failed"]
        assert sorted(letters) == sorted([*self.model.dead, *failed])
        # These count what they end themselves; here nobody counts the rest.
        assert sorted(one.id for one in await recent(self.store)) == sorted(self.model.dead)
        assert sum((await states(self.store)).values()) == len(self.model.dead)

    async def check_rest(self) -> None:
        """All that is left of the jobs goes away by itself."""
        store, prefix = self.store, self.store.keys.prefix
        for line in LINES:
            assert await store.call("XLEN", store.keys.stream(line)) == 0
            assert await store.pending(line) == 0
        passing = {f"result:{job_id}" for job_id in self.model.jobs} | {"inbox:me"}
        passing |= {f"job:{job_id}" for job_id in self.model.jobs}
        passing |= {name for name in await store.key_names() if name.startswith("stats:")}
        passing.add("recent")
        lasting = {f"stream:{line}" for line in LINES} | {"workers", "dead", "control"}
        names = await store.key_names()
        assert names <= passing | lasting
        for name in names & passing:
            assert await store.pttl(prefix + name) > 0, name


async def _wait(awaitable: Awaitable[T]) -> T:
    return await awaitable


def held(delivery: Delivery) -> Held:
    """What the account knows a delivery by."""
    assert delivery.envelope == ENVELOPE
    return delivery.job_id, delivery.number, delivery.attempt


def outcome(delivery: Delivery, state: str) -> bytes:
    """An outcome as a worker writes it."""
    if state == "done":
        return encode_done(b'"size"', delivery.number, b"1")
    return encode_ended("size", delivery.number, JobState(state), Failure("E", "no", ""))


def all_of(items: list[str]) -> set[int]:
    """The places of all *items*."""
    return set(range(len(items)))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for all histories of a test."""
    with asyncio.Runner() as runner:
        yield runner


def play(histories: int, url: str, runner: asyncio.Runner, patch: pytest.MonkeyPatch) -> None:
    """Play so many histories on the store at *url*."""
    patch.setattr(roster, "REAP_LIMIT", REAP_LIMIT)
    store = Store(url)
    patch.setattr(Histories, "runner", runner, raising=False)
    patch.setattr(Histories, "store", store, raising=False)
    runner.run(store.__aenter__())
    try:
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=histories,
                stateful_step_count=STEPS,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    finally:
        runner.run(store.__aexit__(None, None, None))


@pytest.mark.timeout(300)
def test_thousand_histories_on_redis(
    redis_server: RedisServer, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in whatever order, a real Redis ends up where the account does."""
    play(1_000, redis_server.unix_url, runner, monkeypatch)


@pytest.mark.timeout(300)
def test_histories_in_memory(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts mean the same where they run in process."""
    play(100, f"memory://{uuid4()}", runner, monkeypatch)
