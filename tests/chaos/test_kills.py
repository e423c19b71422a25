"""Workers are killed at random while they work."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from statistics import median

from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, SLACK, Fleet
from tests.chaos.killing import kill_at_random
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.report import seconds
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized

JOBS = sized(short=1_500, long=20_000)
KILLS = sized(short=5, long=60)
WORKERS = 4
SLOTS = 10  # of each worker

#: Seconds that a job takes: as long as all slots together need to outlast the kills.
EACH = 0.15

#: A job that was with so many workers when they died is given up.
MAX_WORKER_DEATHS = 3


@asynccontextmanager
async def kept_busy(load: Load, ledger: Ledger) -> AsyncGenerator[None]:
    """See to it that there is work for all until the end of the block, however long that is."""

    async def give() -> None:
        while True:
            if len(load.accepted) - ledger.count("end") < JOBS // 4:
                await load.bulk(JOBS // 4, EACH)
            await pause(0.5)

    giving = asyncio.ensure_future(give())
    try:
        yield
    finally:
        giving.cancel()
        await asyncio.wait([giving])


async def test_random_kills(fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """No job is lost, and only those run again that ran when their worker was killed."""
    fleet.options += ["--concurrency", str(SLOTS)]
    await fleet.start(WORKERS)
    await load.bulk(JOBS, EACH)
    awaiting = asyncio.ensure_future(load.ends())
    await pause(1.0)
    async with kept_busy(load, ledger):
        faults = await kill_at_random(fleet, KILLS)
    await awaiting
    told, given_up = await load.ends()
    book = await ending.wind_up(WORKERS)

    running = sum(len(book.in_flight(fault)) for fault in faults)
    recoveries = book.recoveries(faults)
    line = ending.report(
        "kills",
        f"{WORKERS} workers, a random `kill -9` every second",
        load.accepted,
        f"{KILLS} kill -9",
        given_up=given_up,
        recovery=max(recoveries),
        figures={
            "half of them running again within": seconds(median(recoveries)),
            "in flight at the kills": str(running),
            "started again": str(book.started_again),
            "given up, with three workers when they were killed": str(len(given_up)),
            "living workers taken for dead": str(fleet.taken_for_dead),
        },
    )
    assert line.lost == 0
    # Three times unlucky is poison, as far as anyone can tell. The first time it may have waited
    # in its worker; then it must have run.
    times = Counter(run.job for fault in faults for run in book.in_flight(fault))
    assert all(times[job] >= MAX_WORKER_DEATHS - 1 for job in given_up)
    assert line.duplicates <= book.started_again <= ending.may_run_again(faults, SLOTS)
    assert max(recoveries) <= LEASE + 1.0 + SLACK
    assert running > 0, "no kill met work"
    assert not fleet.errors("was taken for dead", "gave up ")
    await ending.check(load.accepted, told)
