"""The scripts against a plain account of what they do, through thousands of short histories.

Each history is a handful of producers and workers, their crashes and their time, and what is
cancelled and paused meanwhile, drawn at random. After every step the queue is compared with
`histories/reference.py`: where each job is, which delivery of it counts, how it ended. Which
deliveries would be run, the worker's own parts decide (`histories/stepped_worker.py`). Nothing
runs at once here; what races do is the matter of the other tests in this directory, and each
atomic step has its place in some order.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from aiostreamq.model.job_transitions import TRANSITIONS, Transition
from aiostreamq.store import cancellation, workers
from aiostreamq.store.inspect import walk
from aiostreamq.store.reads import Read
from aiostreamq.worker.declared_limits import DeclaredLimits
from tests.chaos.histories.job import RATE, TASKS
from tests.chaos.histories.kept import KEPT, KeptHistories
from tests.chaos.histories.machine import LINES, LONG_AGO, NAMES, held
from tests.chaos.histories.misfortunes import RECOVER_LIMIT, Misfortunes
from tests.chaos.histories.rare import Examples
from tests.chaos.histories.steering import WORDS
from tests.chaos.histories.stepped_worker import KNOWN, MANY, SteppedWorker
from tests.chaos.histories.whereabouts import whereabouts
from tests.chaos.histories.workers import LETTER_STATES, ending, turn_of
from tests.chaos.scale import TIME_LIMIT, sized
from tests.support.ends import recent, states
from tests.support.redis_server import RedisServer
from tests.support.store import HOUR_MS, Store

#: Steps of one history, and how many histories are played.
STEPS = 36
ON_REDIS = sized(short=80, long=3_000)
IN_MEMORY = sized(short=15, long=300)

ALLOWED = frozenset(TRANSITIONS)

#: What one call touches at most: so few that there is often more than one.
LIMITS = (
    (workers, "RECOVER_LIMIT", RECOVER_LIMIT),
    (cancellation, "CANCEL_LIMIT", 2),
    (cancellation, "LANE_LIMIT", 2),
    (walk, "PAGE", 1),
)


def _ignore(*, is_for_all: bool) -> None:
    """Admit nothing: the histories say when."""
    del is_for_all


class Histories(KeptHistories, Misfortunes):
    """All that can happen, and what must hold."""

    seen: ClassVar[set[Transition]] = set()  #: changes of a job's stage, in all histories

    told: list[str]
    tells_lag: bool

    @initialize(is_strict=st.booleans())
    def begin(self, *, is_strict: bool) -> None:
        """Start with an empty queue, and workers that know nothing."""
        self.run(self.store.call("FLUSHALL"))
        self.run(self.store.queue.create_groups(self.store.link))
        limits = DeclaredLimits(
            self.store.queue, [one.spec for one in KNOWN.tasks.values()], _ignore
        )
        self.run(limits.declare())
        # Redis 6.2 does not, nor has every fakeredis.
        self.tells_lag = self.look().lags == dict.fromkeys(LINES, 0)
        self.is_strict = is_strict
        for name in NAMES:
            self.start(name)

    @invariant()
    def each_job_is_where_it_should_be(self) -> None:
        """Each is in one place, as the delivery that counts."""
        assert self.model.seen <= ALLOWED
        sight, jobs = self.look(), self.model.jobs.values()
        self.told = sight.told
        assert sight.places == {job.id: whereabouts(job) for job in jobs}
        has_entry = {job.id for job in jobs if job.place in {"queued", "running"}}
        assert sight.cancelled == has_entry & {job.id for job in jobs if job.is_cancelled}
        assert sight.paused == self.model.pauses.told
        assert sight.parked_for == {job.call.task for job in jobs if job.place == "parked"}
        sight.backlogs.check(self.model)
        if self.tells_lag:
            lags = sight.lags
            if self.store.queue.connector.is_in_memory:  # it knows some only at the next delivery
                lags = {line: lag for line, lag in lags.items() if lag is not None}
            assert lags == {line: self.model.waiting(line) for line in lags}

    def teardown(self) -> None:
        """Run what is left to its end: nothing stays but what expires."""
        if sys.exc_info()[1] is not None:
            return  # what went wrong first is what should be told
        for job_id in self.model.jobs:
            assert self.run(self.told_status(job_id)) == self.model.status(job_id)
        self.run(self.drain())
        self.each_job_is_where_it_should_be()
        assert sorted(self.told) == sorted(self.model.told), "each end is told once"
        self.run(self.check_letters())
        self.run(self.check_counts())
        self.run(self.check_rest())
        self.seen.update(self.model.seen)

    async def drain(self) -> None:
        """Let everything come due and continue, and end it: first by those who have it."""
        self.pass_noon()
        delayed = self.store.keys.delayed
        for job in self.model.jobs.values():
            job.is_due = job.place == "delayed"
            await self.store.call("ZADD", delayed, "XX", LONG_AGO, job.id)
        assert await self.pauses.resume(WORDS) == self.model.pauses.resume(WORDS)
        assert (await self.schedule.promote())[0] == self.model.promote()
        assert await self.parking.unpark(list(TASKS)) == self.model.release(TASKS)
        for worker in self.workers.values():
            await self.end_all(worker, await worker.read_own())
        last = SteppedWorker(self.store, "d", self.clock, is_strict=False)
        rest = await self.store.deliveries.read(self.store.link, "d", MANY, None)
        expected = self.model.read("d", dict.fromkeys(LINES, MANY))
        assert [one.job_id for one in rest.deliveries] == [job.id for job in expected]
        await self.end_all(last, rest)
        while self.model.has_any("held"):
            await self.forget_charges()
            await self.forget_quiet()
            read = await last.admit(MANY)
            assert read.deliveries, "held for ever"
            self.model.admit("d", [one.job_id for one in read.deliveries])
            await self.end_all(last, read)

    async def end_all(self, worker: SteppedWorker, read: Read) -> None:
        """Settle deliveries that are nobody else's: what is still to be run, and what is not."""
        found = await worker.sort(read)
        assert found.fates == {one.job_id: self.model.fate(one.job_id) for one in read.deliveries}
        for one in found.held:
            assert self.model.hold(held(one.delivery), turn_of(one.delivery))
            assert await self.held_jobs.hold([one]) == 1
        ends = [*found.unrun, *(ending(one, "done", HOUR_MS) for one in found.run)]
        refused = [end for end in ends if not self.end(end)]
        assert await self.refusals(ends, worker.name) == refused == []

    async def check_letters(self) -> None:
        """What failed or was given up is among the dead letters, once; nothing else is."""
        letters = [one["id"] for one in await self.store.stream_at(self.store.keys.dead)]
        jobs = self.model.jobs.values()
        failed = [job.id for job in jobs if job.state in LETTER_STATES and job.ended_by]
        assert sorted(letters) == sorted([*self.model.dead, *failed])

    async def check_counts(self) -> None:
        """What no worker settled was counted by who ended it, once; here nobody counts the rest."""
        ended = {job.id: (job.call.task, job.state) for job in self.model.jobs.values()}
        counted = [job.id for job in self.model.jobs.values() if job.state and not job.ended_by]
        found = await recent(self.store)
        assert sorted(one.id for one in found) == sorted(counted)
        assert all((one.task, one.state) == ended[one.id] for one in found)
        assert await states(self.store) == Counter(ended[job_id] for job_id in counted)

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
        counting = {"totals"}
        lasting = {f"stream:{line}" for line in LINES} | {"workers", "dead", "control", "unique"}
        lasting |= {"alive", "leases"}  # with the workers
        lasting |= {"limit_defaults", "limit_rules", "bell", "floor", "place"}
        passing |= {"due_claim", "due_looked", "lost_claim", f"rate:{RATE}", f"quiet:{RATE}"}
        names = await store.key_names()
        assert names <= passing | lasting | counting
        for name in names & passing:
            assert await store.pttl(prefix + name) > 0, name


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for all histories of a test."""
    with asyncio.Runner() as runner:
        yield runner


def play(
    histories: int, url: str, runner: asyncio.Runner, patch: pytest.MonkeyPatch
) -> set[Transition]:
    """Play a number of histories on the store at *url*; returns the transitions that were seen."""
    for module, name, limit in LIMITS:
        patch.setattr(module, name, limit)
    store = Store(url)
    store.queue.has_limits = True
    patch.setattr(Histories, "runner", runner, raising=False)
    patch.setattr(Histories, "store", store, raising=False)
    patch.setattr(Histories, "seen", set[Transition]())
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
        play_kept()
        return Histories.seen | runner.run(Examples(store).play())
    finally:
        runner.run(store.__aexit__(None, None, None))


def play_kept() -> None:
    """Play the histories that are kept, with the same checks."""
    for history in KEPT:
        machine = Histories()
        machine.begin(is_strict=False)
        for _ in history(machine):
            machine.each_job_is_where_it_should_be()
        machine.teardown()


@pytest.mark.timeout(TIME_LIMIT)
def test_real_redis_ends_histories_where_the_reference_does(
    redis_server: RedisServer, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in whatever order, a real Redis ends up where the account does.

    The jobs went through all transitions of the table, and through no other.
    """
    seen = play(ON_REDIS, redis_server.unix_url, runner, monkeypatch)
    assert sorted(ALLOWED - seen) == []
    assert sorted(seen - ALLOWED) == []


@pytest.mark.timeout(TIME_LIMIT)
def test_memory_store_ends_random_histories_where_the_reference_does(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts mean the same where they run in process."""
    seen = play(IN_MEMORY, f"memory://{uuid4()}", runner, monkeypatch)
    assert sorted(seen - ALLOWED) == []
