"""The master dies, and sentinels promote its replica."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator

import pytest
from redis.asyncio import Redis

from aiostreamq import JobNotFound
from tests.chaos import invariants, sentinel_app
from tests.chaos.app import KEEP, Run
from tests.chaos.ending import Ending
from tests.chaos.feed import feeding, slowest_resumption
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.report import Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until

APP = "tests.chaos.sentinel_app:queue"

FAILOVERS = sized(short=1, long=5)
WORKERS = 3
EACH = 0.05  # seconds that a job takes

#: Seconds from the death of a master until jobs run again. The short form runs beside other tests.
#: What is measured is in the report.
PROMISE = sized(short=30.0, long=10.0)


@pytest.fixture
def sentinels() -> Generator[Sentinels]:
    """A master, its replica and three sentinels."""
    with Sentinels() as sentinels:
        yield sentinels


@pytest.fixture
async def load(sentinels: Sentinels) -> AsyncGenerator[Load]:
    """The producer, which asks the sentinels."""
    async with sentinel_app.sentinel_queue(sentinels.ports) as queue:
        task = queue.task(result_ttl=KEEP, name="work")(sentinel_app.body)
        yield Load(queue, task)


@pytest.fixture
async def fleet(sentinels: Sentinels, ledger: Ledger) -> AsyncGenerator[Fleet]:
    """Workers, which ask the sentinels."""
    ports = " ".join(map(str, sentinels.ports))
    async with Fleet("", {**ledger.environment, sentinel_app.VARIABLE: ports}) as fleet:
        yield fleet


async def fail_over(sentinels: Sentinels, fleet: Fleet) -> float:
    """Kill the master, and wait for a new one; returns when it died."""
    await wait_until(sentinels.is_replicating, "a replica, and all sentinels", timeout=30)
    await pause(1.0)
    moment = time.monotonic()
    sentinels.master.kill()
    sentinels.swap()
    await wait_until(sentinels.is_promoted, "the replica to be promoted", timeout=20)
    await pause(1.0)
    sentinels.replica.start()  # the old one; the sentinels tell it whom to follow
    return moment


async def told_by(load: Load) -> tuple[dict[str, Run], set[str]]:
    """Await all; returns the outcomes, and the jobs that Redis knows nothing of."""
    told = await asyncio.gather(*load.accepted.values(), return_exceptions=True)
    runs, forgotten = dict[str, Run](), set[str]()
    for job, one in zip(load.accepted, told, strict=True):
        if isinstance(one, JobNotFound):
            forgotten.add(job)
        elif isinstance(one, BaseException):
            raise one
        else:
            runs[job] = one
    return runs, forgotten


async def test_replica_is_promoted(
    sentinels: Sentinels, fleet: Fleet, load: Load, ledger: Ledger, report: Report
) -> None:
    """Work continues by itself; nothing is missing but what the new master never had."""
    await fleet.start(WORKERS, app=APP)
    async with feeding(load, EACH):
        moments = [await fail_over(sentinels, fleet) for _ in range(FAILOVERS)]
        await pause(1.0)
    runs, forgotten = await told_by(load)
    async with Redis.from_url(sentinels.master.url, decode_responses=True) as client:
        ending = Ending(client, fleet, ledger, report)
        book = await ending.wind_up(WORKERS)
        known = await invariants.stored_outcomes(client, load.accepted)

        line = ending.report(
            "failover",
            f"{WORKERS} workers, a replica promoted by 3 sentinels under load",
            load.accepted,
            f"{FAILOVERS} masters killed",
            recovery=slowest_resumption(book, [moment + 0.5 for moment in moments]) + 0.5,
            figures={
                "accepted by the old master, unknown to the new": str(len(forgotten)),
                "enqueues that raised": str(len(load.uncertain)),
            },
        )
        assert book.lost(load.accepted) <= forgotten, "more is missing than Redis has lost"
        assert {job for job, outcome in known.items() if outcome is None} == forgotten
        assert line.recovery is not None
        assert line.recovery <= PROMISE
        assert not load.uncertain
        await ending.check(runs, runs)
