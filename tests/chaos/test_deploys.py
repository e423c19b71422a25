"""Releases and restarts while work continues."""

import asyncio
import random
import uuid
from typing import cast

from redis.asyncio import Redis

from aiostreamq import Job
from tests.chaos import invariants
from tests.chaos.app import NAME, Run, queue, work
from tests.chaos.ending import Ending
from tests.chaos.fleet import PATIENT, Fleet
from tests.chaos.ledger import Book, Ledger
from tests.chaos.load import Load
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.store import Store
from tests.support.waiting import wait_until

OLD, NEW = "tests.chaos.old_app:queue", "tests.chaos.new_app:queue"

DEPLOYS = sized(short=1, long=5)
JOBS = sized(short=1_000, long=10_000)  # of `work`, in each deploy
ODD_JOBS = sized(short=50, long=300)  # of each task that one release lacks, in each deploy
WORKERS = 3

RESTARTS = sized(short=3, long=20)
JOBS_A_RESTART = 250
LONG_A_RESTART = 8

#: Seconds that a job takes that does not end while a worker shuts down, and what it has for that.
LONG = 3.0
SHUTDOWN_TIMEOUT = 1.0

#: Seconds in which what was cut short must run elsewhere. The short form runs beside other tests.
#: What is measured is in the report.
HAND_OVER = sized(short=10.0, long=1.0)


def parked(name: str) -> str:
    """Return the key where the jobs of a task wait that nobody knows."""
    return f"{invariants.KEYS.prefix}parked:{name}"


async def give_by_name(load: Load, task: str, count: int) -> list[Job[Run]]:
    """Enqueue jobs of a task that this process does not have."""
    jobs = [cast("Job[Run]", await queue.enqueue(task)) for _ in range(count)]
    load.accepted |= {job.id: job for job in jobs}
    return jobs


async def give_with_unknown_field(load: Load, url: str, count: int) -> None:
    """Enqueue jobs as a later release may write them, with more in the envelope."""
    ids = [uuid.uuid4().hex for _ in range(count)]
    envelope = b'{"task":"work","kwargs":{"seconds":0.01},"mood":{"calm":true}}'
    async with Store(url, NAME) as store:
        assert await store.enqueue(*ids, envelope=envelope) == set()
    load.accepted |= {job_id: cast("Job[Run]", queue.job(job_id)) for job_id in ids}


async def roll(fleet: Fleet, app: str) -> list[int]:
    """Replace the workers one by one; returns how the replaced ones ended."""
    codes: list[int] = []
    for worker in list(fleet.living):
        await fleet.start(app=app)
        codes.append(await fleet.terminate(worker))
    return codes


async def test_rolling_deploys(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """What one release does not know waits for the other; nothing is lost or run twice."""
    fleet.options += ["--concurrency", "10", *PATIENT]
    await fleet.start(WORKERS, app=OLD)
    codes: list[int] = []
    for _ in range(DEPLOYS):
        early = await give_by_name(load, "added", ODD_JOBS)
        await give_with_unknown_field(load, server.url, ODD_JOBS)
        feeding = asyncio.ensure_future(load.bulk(JOBS, 0.02))

        async def are_parked(task: str, count: int = ODD_JOBS) -> bool:
            return await client.xlen(parked(task)) == count

        await wait_until(
            lambda: are_parked("added"), "the old to set aside what is new", timeout=60
        )
        codes += await roll(fleet, NEW)
        await feeding
        await asyncio.gather(*early)  # parked by the old, and run by the new

        late = await give_by_name(load, "retired", ODD_JOBS)
        await wait_until(
            lambda: are_parked("retired"), "the new to set aside what is old", timeout=60
        )
        codes += await roll(fleet, OLD)  # the deploy is taken back
        await asyncio.gather(*late)
    told = await load.outcomes()
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "deploys",
        "rolling deploys: a task added, one removed, a field added; and back",
        load.accepted,
        f"{2 * DEPLOYS} deploys of {WORKERS} workers",
        figures={"parked and run later": str(2 * ODD_JOBS * DEPLOYS)},
    )
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert {attempt for _, _, attempt in told.values()} == {1}
    assert not any(codes), codes
    assert not fleet.errors()
    assert not await client.exists(parked("added"), parked("retired"))
    await ending.check(load.accepted, told)


async def test_rolling_restarts(fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """SIGTERM under load costs no job, no second end, and no attempt."""
    fleet.options += ["--concurrency", "10", *PATIENT]
    fleet.options += ["--shutdown-timeout", f"{SHUTDOWN_TIMEOUT:g}"]
    await fleet.start(WORKERS)
    codes: list[int] = []
    for _ in range(RESTARTS):
        await fleet.start()
        ended = ledger.count("end")
        calls = [work.bind(0.1)] * JOBS_A_RESTART + [work.bind(LONG)] * LONG_A_RESTART
        await load.give(random.sample(calls, len(calls)))  # so that every worker has some of both

        def is_at_work(count: int = ended + JOBS_A_RESTART // 4) -> bool:
            return ledger.count("end") > count

        await wait_until(is_at_work, "some to end, while others run and wait")
        codes.append(await fleet.terminate(fleet.living[0]))
    told = await load.outcomes()
    book = await ending.wind_up(WORKERS)

    waits = hand_over_times(book)
    line = ending.report(
        "restarts",
        f"rolling restarts of {WORKERS} workers by SIGTERM under load",
        load.accepted,
        f"{RESTARTS} SIGTERM",
        recovery=max(waits, default=None),
        figures={
            "cut short and handed back": str(len(waits)),
            "attempts charged": str(sum(attempt > 1 for _, _, attempt in told.values())),
        },
    )
    assert (line.lost, line.duplicates) == (0, 0)
    assert {attempt for _, _, attempt in told.values()} == {1}
    assert waits, "no job was cut short"
    assert max(waits) <= HAND_OVER
    runs = [(event.job, event.delivery) for event in book.events if event.kind == "start"]
    assert len(set(runs)) == len(runs), "two runs had the same job and delivery number"
    assert not any(codes), codes
    assert not fleet.errors()
    await ending.check(load.accepted, told)


def hand_over_times(book: Book) -> list[float]:
    """Return the seconds from each body that was cut short to its next start."""
    waits: list[float] = []
    for cut in book.events:
        if cut.kind == "cut":
            later = [start.at - cut.at for start in book.starts[cut.job] if start.at > cut.at]
            waits += later[:1]
    return waits
