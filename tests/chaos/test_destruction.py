"""What a queue has in Redis is deleted while it works."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from redis.asyncio import Redis

from aiostreamq import Job, JobNotFound
from aiostreamq.model.keys import GROUP
from tests.chaos import invariants
from tests.chaos.app import Run
from tests.chaos.fleet import Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.ledger import Book, Ledger
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.waiting import wait_until

WORKERS = 3
SLOTS = 10  # of each
BEFORE = sized(short=120, long=600)  # jobs that are there when it happens
AFTER = sized(short=60, long=300)  # and that come then
EACH = 0.2  # seconds that a job takes

#: Seconds for which scripts are flushed, again and again.
FLUSHING = sized(short=1.0, long=10.0)

#: Seconds of looking at what an idle queue asks of Redis, and by what part that may differ from
#: one time to the next. Who spins asks a thousand times a second, or more.
LOOK = 1.5
NOISE = 0.5
FEW = 200  # a second, which may be more than before where a loaded machine had held all up

#: Seconds in which every await must have ended.
PATIENCE = 30.0

#: Does it; returns how many deliveries may be made again for it.
Fault = Callable[[Redis], Awaitable[int]]


async def scripts_flushed(client: Redis) -> int:
    """All scripts forgotten, again and again."""
    end = time.monotonic() + FLUSHING
    while time.monotonic() < end:
        await client.script_flush()
    return 0


async def group_destroyed(client: Redis) -> int:
    """The consumer group gone, with all that is pending."""
    stream = KEYS.stream("default")
    async with client.pipeline(transaction=True) as both:
        both.xpending(stream, GROUP)
        both.xgroup_destroy(stream, GROUP)
        pending, _ = await both.execute()
    return pending["pending"]


async def stream_deleted(client: Redis) -> int:
    """The stream gone, with all that waits in it."""
    await client.delete(KEYS.stream("default"))
    return 0


async def all_flushed(client: Redis) -> int:
    """Everything gone."""
    await client.flushall()
    await client.script_flush()
    return 0


async def commands_a_second(client: Redis) -> float:
    """Return what is asked of Redis while there is nothing to do."""

    async def count() -> int:
        stats = cast("dict[str, dict[str, int]]", await client.info("commandstats"))
        return sum(one["calls"] for one in stats.values())

    before = await count()
    await pause(LOOK)
    return (await count() - before) / LOOK


async def told_by(jobs: list[Job[Run]]) -> tuple[set[str], set[str]]:
    """Await jobs; returns those that are unknown, and those whose await continues."""
    awaits = {job.id: asyncio.ensure_future(job.result()) for job in jobs}
    pending = (await asyncio.wait(awaits.values(), timeout=PATIENCE))[1]
    unknown: set[str] = set()
    for job_id, one in awaits.items():
        if one in pending:
            one.cancel()
        elif (error := one.exception()) is not None:
            assert isinstance(error, JobNotFound), error
            unknown.add(job_id)
    return unknown, {job_id for job_id, one in awaits.items() if one in pending}


def gone(fault: Fault, book: Book, jobs: set[str], at: float) -> set[str]:
    """Return the jobs that a fault deletes."""
    if fault is all_flushed:
        return {j for j in jobs if j not in book.ends or book.ends[j][0].at > at}
    if fault is stream_deleted:
        return {j for j in jobs if j not in book.starts}
    return set()


#: What the reports call them.
NAMES: dict[Fault, str] = {
    scripts_flushed: "scripts-flushed",
    group_destroyed: "group-destroyed",
    stream_deleted: "stream-deleted",
    all_flushed: "all-flushed",
}


@pytest.mark.parametrize("fault", NAMES)
async def test_deleted_while_running(
    fault: Fault, client: Redis, fleet: Fleet, load: Load, ledger: Ledger, report: Report
) -> None:
    """No crash, no spin; what is not deleted is done, and what comes later too."""
    fleet.options += ["--concurrency", str(SLOTS)]
    await fleet.start(WORKERS)
    usual = await commands_a_second(client)
    await load.bulk(BEFORE, EACH)
    before = set(load.accepted)
    await wait_until(lambda: ledger.count("start") > BEFORE // 3, "many to run")
    awaiting = asyncio.ensure_future(told_by(list(load.accepted.values())))
    await asyncio.sleep(0)
    moment = time.monotonic()
    pending = await fault(client)
    over = time.monotonic()
    await load.bulk(AFTER, EACH)
    after = set(load.accepted) - before
    unknown, hung = await told_by([load.accepted[job] for job in after])
    resumed = ledger.book()
    if fault is not stream_deleted:
        lost_before, hung_before = await awaiting
        unknown, hung = unknown | lost_before, hung | hung_before
    await invariants.wait_quiet(client, WORKERS)
    calm = await commands_a_second(client)
    codes = await fleet.dismiss()
    awaiting.cancel()

    book = ledger.book()
    deleted = gone(fault, book, before, moment)
    line = Line(
        NAMES[fault],
        (fault.__doc__ or "").rstrip("."),
        len(load.accepted),
        "1 deletion" if fault is not scripts_flushed else f"{FLUSHING:g} s of them",
        lost=len(book.lost(load.accepted) - deleted),
        duplicates=book.ended_again,
        recovery=min(resumed.starts[job][0].at for job in after & resumed.starts.keys()) - over,
        figures={
            "deleted with it": str(len(deleted)),
            "deliveries to be made again": str(pending),
            "commands a second when idle": f"{usual:.0f} before, {calm:.0f} after",
        },
    )
    report.add(line)
    assert line.lost == 0
    assert line.duplicates <= pending
    assert not hung
    # With everything, outcomes go that were there already.
    assert unknown <= (before if fault is all_flushed else deleted)
    assert calm <= max(usual * (1 + NOISE), FEW)
    assert codes == [0] * WORKERS
    assert not fleet.lines_with("Traceback")
    missing = await invariants.missing_outcomes(client, set(load.accepted) - deleted)
    assert not (missing if fault is not all_flushed else missing & after)
