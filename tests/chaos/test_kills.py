"""Workers are killed at random while they work."""

import asyncio
import random

from redis.asyncio import Redis

from tests.chaos import invariants
from tests.chaos.fleet import LEASE, Fault, Fleet
from tests.chaos.ledger import SETTLING, Ledger
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized

JOBS = sized(short=3_000, long=20_000)
KILLS = sized(short=8, long=60)
WORKERS = 4
SLOTS = 10  # of each worker

#: Seconds that a job takes: as long as all slots together need to outlast the kills.
EACH = 0.15

#: Seconds beyond the promise that a machine with other things to do may add.
SLACK = 3.0


async def kill_at_random(fleet: Fleet, count: int) -> list[Fault]:
    """Kill a worker every second, and start another in its place."""
    faults: list[Fault] = []
    for _ in range(count):
        faults.append(await fleet.kill(random.choice(fleet.living)))
        await asyncio.gather(fleet.start(), pause(1.0))
    return faults


async def test_random_kills(
    client: Redis, fleet: Fleet, load: Load, ledger: Ledger, report: Report
) -> None:
    """No job is lost, and only those run again that ran when their worker was killed."""
    fleet.options += ["--concurrency", str(SLOTS)]
    await fleet.start(WORKERS)
    await load.bulk(JOBS, EACH)
    awaiting = asyncio.ensure_future(load.outcomes())
    await pause(1.0)
    faults = await kill_at_random(fleet, KILLS)
    working = len(load.accepted) - len(ledger.book().ends)
    told = await awaiting
    await invariants.wait_quiet(client, WORKERS)
    codes = await fleet.dismiss()

    book = ledger.book()
    running = sum(len(book.in_flight(fault.pid, fault.at)) for fault in faults)
    hit = sum(len(book.in_flight(fault.pid, fault.at, SETTLING)) for fault in faults)
    recoveries = [took for fault in faults for took in book.recoveries(fault.pid, fault.at)]
    line = Line(
        "kills",
        f"{WORKERS} workers, a random `kill -9` every second",
        len(load.accepted),
        f"{KILLS} kill -9",
        lost=len(book.lost(load.accepted)),
        duplicates=book.ended_again,
        recovery=max(recoveries),
        figures={
            "in flight at the kills": str(running),
            "started again": str(book.started_again),
            "left at the last kill": str(working),
        },
    )
    report.add(line)
    assert line.lost == 0
    assert line.duplicates <= book.started_again <= hit
    assert max(recoveries) <= LEASE + 1.0 + SLACK
    assert working > 0, "the kills came too late to meet work"
    assert codes == [0] * WORKERS
    await invariants.check_answers(client, told)
    await invariants.check(client, load.accepted)
