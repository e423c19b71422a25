"""Jobs that take their worker down, among jobs that do not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from aiostreamq import Job, JobDead
from tests.chaos import invariants
from tests.chaos.app import eat_memory, exit_at_once, kill_itself, segfault
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.load import Load
from tests.chaos.scale import sized

OF_EACH_KIND = sized(short=1, long=5)
JOBS = sized(short=800, long=8_000)
WORKERS = 4

#: A job that was with so many workers when they died is given up.
DELIVERIES = 3

#: Seconds that a harmless job takes.
EACH = 0.1


@asynccontextmanager
async def kept_up(fleet: Fleet) -> AsyncGenerator[None]:
    """Replace workers that die in between."""
    keeping = asyncio.ensure_future(fleet.keep_up())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def give_poison() -> list[Job[None]]:
    """Enqueue some jobs of each way to end a process."""
    jobs: list[Job[None]] = []
    for _ in range(OF_EACH_KIND):
        jobs += [await exit_at_once.enqueue(), await segfault.enqueue()]
        jobs += [await kill_itself.enqueue(), await eat_memory.enqueue(512)]
    return jobs


async def test_poison(client: Redis, fleet: Fleet, load: Load, ending: Ending) -> None:
    """What kills every worker that runs it is given up after three; all else is done."""
    fleet.options += ["--concurrency", "10"]
    await fleet.start(WORKERS)
    await load.bulk(JOBS // 2, EACH)
    async with kept_up(fleet):
        poison = await give_poison()
        await load.bulk(JOBS // 2, EACH)
        ends = await asyncio.gather(*poison, return_exceptions=True)
        told = await asyncio.gather(*load.accepted.values(), return_exceptions=True)
        await invariants.wait_quiet(client, WORKERS)
    book = await ending.wind_up(WORKERS)

    harmed = [run for run in told if isinstance(run, BaseException)]
    starts = [len(book.starts.get(job.id, ())) for job in poison]
    line = ending.report(
        "poison",
        "jobs that exit, crash, are killed or run out of memory, among others",
        load.accepted,
        f"{len(poison)} poisonous jobs",
        figures={
            "workers lost": str(len(fleet.all) - WORKERS),
            "starts of each poisonous job": f"{min(starts)} to {max(starts)}",
            "others given up": str(len(harmed)),
        },
    )
    assert not harmed, f"{len(harmed)} jobs were given up for what their neighbours did"
    assert line.lost == 0
    for end in ends:
        assert isinstance(end, JobDead)
        assert f"delivered {DELIVERIES} times" in str(end)
    # A delivery can end before its body starts, where a neighbour brings the worker down.
    assert min(starts) >= 1
    assert max(starts) <= DELIVERIES
    assert await client.xlen(invariants.KEYS.dead) == len(poison)
    assert not fleet.errors("gave up ", "was taken for dead")
    await ending.check([*load.accepted, *(job.id for job in poison)])
