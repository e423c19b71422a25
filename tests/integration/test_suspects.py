"""Jobs on their last chance: each is run alone, and they do not wait for one another."""

import asyncio
import time
from collections import defaultdict
from itertools import pairwise
from typing import cast

from aiostreamq import Context, Queue, Worker
from tests.support.waiting import wait_until

JOBS = 8
EACH = 0.2
DEATHS = b"gone-1@1700000000000 gone-2@1700000001000"

_Entries = list[tuple[bytes, list[bytes]]]


async def suspect(queue: Queue) -> None:
    """Have it look as if two workers had died with each of the jobs that wait."""
    broker, keys = queue.session().broker, queue.session().broker.keys
    stream = keys.stream("default")
    for entry, fields in cast("_Entries", await broker.call("XRANGE", stream, "-", "+")):
        fresh = cast("bytes", await broker.call("XADD", stream, "*", *fields, "d", DEATHS))
        await broker.call("XDEL", stream, entry)
        await broker.call("HSET", keys.job(fields[1].decode()), "e", fresh)


async def test_alone_in_each_worker_and_spread_over_all(queue: Queue) -> None:
    """No two run at once in a worker; what would have to wait there runs in another."""
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    @queue.task
    async def note(context: Context) -> None:
        began = time.monotonic()
        await asyncio.sleep(EACH)
        spans[context.worker].append((began, time.monotonic()))

    jobs = [await note.enqueue() for _ in range(JOBS)]
    await suspect(queue)
    async with Worker(queue, name="a"), Worker(queue, name="b"):
        await asyncio.gather(*(job.result(timeout=20) for job in jobs))

    assert sum(map(len, spans.values())) == JOBS
    for runs in spans.values():
        for (_, end), (begin, _) in pairwise(runs):
            assert end <= begin
    assert min(len(runs) for runs in spans.values()) >= JOBS // 4
    assert len(spans) == 2


async def test_one_worker_is_enough(queue: Queue) -> None:
    """It hands them back to itself, and other jobs run in between."""
    ran: list[str] = []

    @queue.task
    async def note(context: Context) -> None:
        ran.append(context.job_id)

    jobs = [await note.enqueue() for _ in range(JOBS)]
    await suspect(queue)
    others = [await note.enqueue() for _ in range(JOBS)]
    async with Worker(queue, concurrency=4) as worker:
        await asyncio.gather(*(job.result(timeout=20) for job in (*jobs, *others)))
        assert sorted(ran) == sorted(job.id for job in (*jobs, *others))
        await wait_until(lambda: worker.finished == 2 * JOBS, "all to have ended")


async def test_burst_waits_for_what_it_handed_back(queue: Queue) -> None:
    """A burst is over when they have run, not when they have left its hands."""
    ran: list[str] = []

    @queue.task
    async def note(context: Context) -> None:
        ran.append(context.job_id)

    jobs = [await note.enqueue() for _ in range(JOBS)]
    await suspect(queue)
    await Worker(queue).run(burst=True)
    assert sorted(ran) == sorted(job.id for job in jobs)
