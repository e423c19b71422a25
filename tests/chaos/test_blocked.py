"""Jobs that hold the event loop of their worker."""

import asyncio

from tests.chaos.app import Run, block
from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.scale import sized
from tests.support.waiting import wait_until

#: Seconds: past the lease, which the worker keeps all the same.
A_WHILE = 3 * LEASE

#: Seconds: past ten leases, when a worker lets go of its jobs.
TOO_LONG = 14 * LEASE

ROUNDS = sized(short=1, long=5)
JOBS = sized(short=600, long=6_000)
WORKERS = 3


async def block_under_load(load: Load, seconds: float) -> tuple[str, Run]:
    """Have one worker blocked while all have work; returns the job that did it and its answer."""
    job = await block.enqueue(seconds)
    load.accepted[job.id] = job
    await load.bulk(JOBS // ROUNDS // 2, 0.05)
    return job.id, await job


async def test_blocked_loops(fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """A blocked worker keeps its jobs for ten leases, is reported, and overwrites no result."""
    fleet.options += ["--concurrency", "10"]
    await fleet.start(WORKERS)
    kept: dict[str, Run] = {}
    taken: dict[str, Run] = {}
    for _ in range(ROUNDS):
        kept |= [await block_under_load(load, A_WHILE)]
        taken |= [await block_under_load(load, TOO_LONG)]

        latest = next(reversed(taken))

        def has_ended_late(job: str = latest) -> bool:
            return len(ledger.book().ends[job]) == 2

        await wait_until(has_ended_late, "the blocked body to end", timeout=2 * TOO_LONG)
    told = await asyncio.wait_for(load.outcomes(), 60)
    book = await ending.wind_up(WORKERS)

    starts = [book.starts[job] for job in taken]
    refused = len(fleet.lines_with("outcome refused"))
    line = ending.report(
        "blocked",
        f"event loop blocked by a job for {A_WHILE:g} s, and for {TOO_LONG:g} s",
        load.accepted,
        f"{ROUNDS} + {ROUNDS} blocks",
        recovery=max(elsewhere.at - here.at for here, elsewhere in starts),
        figures={"outcomes refused": str(refused)},
    )
    assert line.lost == 0
    for job, (_, delivery, _) in kept.items():
        assert delivery == 1
        assert len(book.starts[job]) == 1, "a worker that was blocked for a while lost its job"
    for job, (pid, delivery, _) in taken.items():
        assert delivery == 2
        assert pid == book.starts[job][1].pid
    for job in kept | taken:
        assert fleet.lines_with(f"job:block:{job}: move the blocking call")
    assert len(fleet.lines_with("time.sleep(seconds)")) >= len(kept | taken)
    assert refused >= ROUNDS
    assert not fleet.errors("was taken for dead")
    await ending.check(load.accepted, told)
