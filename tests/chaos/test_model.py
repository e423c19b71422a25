"""The scripts against a plain account of what they do, through thousands of short histories.

Each history is a handful of producers and workers, their crashes and their time, drawn at
random. After every step the queue is compared with `histories/reference.py`: where each job
is, which delivery of it counts, how it ended. Nothing runs at once here; what races do is the
matter of the other tests in this directory, and each atomic step has its place in some order.
"""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from aiostreamq.model.delivery import Delivery, Settlement
from aiostreamq.store import roster
from tests.chaos.histories.machine import LINES, LONG_AGO, held
from tests.chaos.histories.misfortunes import REAP_LIMIT, Misfortunes
from tests.chaos.histories.producers import Producers
from tests.chaos.histories.whereabouts import look, whereabouts
from tests.chaos.histories.workers import outcome
from tests.support.redis_server import RedisServer
from tests.support.store import HOUR_MS, Store

#: Steps of one history.
STEPS = 40


class Histories(Producers, Misfortunes):
    """All that can happen, and what must hold."""

    told: list[str]

    @initialize()
    def begin(self) -> None:
        """Start with an empty queue."""
        self.run(self.store.call("FLUSHALL"))
        self.run(self.store.broker.set_up(self.store.link))

    @invariant()
    def each_job_is_where_it_should_be(self) -> None:
        """Each is in one place, as the delivery that counts."""
        places, self.told = self.run(look(self.store, LINES))
        assert places == {job.id: [whereabouts(job)] for job in self.model.jobs.values()}

    def teardown(self) -> None:
        """Run what is left to its end: nothing stays but what expires."""
        for job_id in self.model.jobs:
            assert self.run(self.told_status(job_id)) == self.model_status(job_id)
        self.run(self.drain())
        self.each_job_is_where_it_should_be()
        assert sorted(self.told) == sorted(self.model.told), "each end is told once"
        self.run(self.check_letters())
        self.run(self.check_rest())

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
        assert await self.store.broker.settle(ends, "somebody") == []

    async def check_letters(self) -> None:
        """What failed or was given up is among the dead letters, once; nothing else is."""
        letters = [one["id"] for one in await self.store.stream_at(self.store.keys.dead)]
        failed = [job.id for job in self.model.jobs.values() if job.state == "failed"]
        assert sorted(letters) == sorted([*self.model.dead, *failed])

    async def check_rest(self) -> None:
        """All that is left of the jobs goes away by itself."""
        store, prefix = self.store, self.store.keys.prefix
        for line in LINES:
            assert await store.call("XLEN", store.keys.stream(line)) == 0
            assert await store.pending(line) == 0
        passing = {f"result:{job_id}" for job_id in self.model.jobs} | {"inbox:me"}
        passing |= {f"job:{job_id}" for job_id in self.model.jobs}
        lasting = {f"stream:{line}" for line in LINES} | {"workers", "dead", "control"}
        names = await store.key_names()
        assert names <= passing | lasting
        for name in names & passing:
            assert await store.pttl(prefix + name) > 0, name


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
