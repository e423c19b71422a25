"""Workers that stand still past their lease, and continue as if nothing had been."""

import asyncio
import random

from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, SLACK, Fault, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.waiting import wait_until

JOBS = sized(short=800, long=6_000)
PAUSES = sized(short=4, long=20)
WORKERS = 3
SLOTS = 10  # of each worker

#: Seconds that a job takes.
EACH = 0.3


async def pause_at_random(fleet: Fleet, ledger: Ledger, count: int) -> list[Fault]:
    """Stop a worker until others run its jobs, and let it continue."""
    faults: list[Fault] = []
    for _ in range(count):
        victim = random.choice(fleet.living)
        fault = fleet.stop(victim)
        faults.append(fault)

        def is_robbed(fault: Fault = fault) -> bool:
            book = ledger.book()
            hit = book.in_flight(fault)
            return all(book.starts[run.job][-1].delivery > run.delivery for run in hit)

        await wait_until(is_robbed, "the jobs of the stopped worker to start elsewhere", timeout=15)
        fleet.go_on(victim)
        await pause(0.7)
    return faults


async def test_random_pauses(fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """Others run what a stopped worker had, and what it says when it continues is refused."""
    fleet.options += ["--concurrency", str(SLOTS)]
    await fleet.start(WORKERS)
    await load.bulk(JOBS, EACH)
    awaiting = asyncio.ensure_future(load.outcomes())
    await pause(1.0)
    faults = await pause_at_random(fleet, ledger, PAUSES)
    told = await awaiting
    book = await ending.wind_up(WORKERS)

    hit = [run for fault in faults for run in book.in_flight(fault)]
    late = sum(
        (run.job, run.delivery) in {(end.job, end.delivery) for end in book.ends[run.job]}
        for run in hit
    )
    recoveries = book.recoveries(faults)
    refused = len(fleet.lines_with("outcome refused"))
    named = len(fleet.lines_with("has it now") + fleet.lines_with("has ended it"))
    line = ending.report(
        "pauses",
        f"{WORKERS} workers, one stopped past its lease, then continued",
        load.accepted,
        f"{PAUSES} SIGSTOP",
        recovery=max(recoveries),
        figures={
            "in flight at the stops": str(len(hit)),
            "bodies that ended late": str(late),
            "outcomes refused": str(refused),
        },
    )
    assert line.lost == 0
    assert line.duplicates <= len(hit)
    assert late <= named <= refused
    assert max(recoveries) <= LEASE + 1.0 + SLACK
    assert fleet.taken_for_dead >= PAUSES
    assert not fleet.errors("was taken for dead")
    for run in hit:
        _, delivery, attempt = told[run.job]
        assert delivery > run.delivery, f"{run} has answered after others had taken over"
        assert attempt == 1
    await ending.check(load.accepted, told)
