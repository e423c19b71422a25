"""Jobs on their last chance: each is run alone, and they do not wait for one another."""

import asyncio
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import cast

import pytest

from aiostreamq import Context, Job, JobCancelled, JobState, Queue, Task, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.keys import RETURNED
from tests.support.waiting import PATIENCE, wait_until

JOBS = 8
EACH = 0.2
DEATHS = b"gone-1@1700000000000 gone-2@1700000001000"

_Entries = list[tuple[bytes, list[bytes]]]


async def suspect(queue: Queue) -> None:
    """Have it look as if two workers had died with each of the jobs that wait."""
    broker, keys = core_of(queue).session().store, core_of(queue).session().store.keys
    stream, returned = keys.stream("default"), keys.stream(RETURNED)
    for entry, fields in cast("_Entries", await broker.call("XRANGE", stream, "-", "+")):
        fresh = cast("bytes", await broker.call("XADD", returned, "*", *fields, "d", DEATHS))
        await broker.call("XDEL", stream, entry)
        await broker.call("HSET", keys.job(fields[1].decode()), "e", fresh, "s", RETURNED)


def noting(queue: Queue) -> tuple[Task[[], None], list[str]]:
    """Return a task, and the list in which it notes its jobs."""
    ran: list[str] = []

    @queue.task
    async def note(context: Context) -> None:
        ran.append(context.job_id)

    return note, ran


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
        await asyncio.gather(*(job.result(timeout=PATIENCE) for job in jobs))

    assert sum(map(len, spans.values())) == JOBS
    for runs in spans.values():
        for (_, end), (begin, _) in pairwise(runs):
            assert end <= begin
    assert min(len(runs) for runs in spans.values()) >= JOBS // 4
    assert len(spans) == 2


async def test_one_worker_is_enough(queue: Queue) -> None:
    """It hands them back to itself, and other jobs run in between."""
    note, ran = noting(queue)
    jobs = [await note.enqueue() for _ in range(JOBS)]
    await suspect(queue)
    others = [await note.enqueue() for _ in range(JOBS)]
    async with Worker(queue, concurrency=4) as worker:
        await asyncio.gather(*(job.result(timeout=PATIENCE) for job in (*jobs, *others)))
        assert sorted(ran) == sorted(job.id for job in (*jobs, *others))
        await wait_until(lambda: worker.finished == 2 * JOBS, "all to have ended")


async def test_burst_waits_for_what_it_handed_back(queue: Queue) -> None:
    """A burst is over when they have run, not when they have left its hands."""
    note, ran = noting(queue)
    jobs = [await note.enqueue() for _ in range(JOBS)]
    await suspect(queue)
    await Worker(queue).run(burst=True)
    assert sorted(ran) == sorted(job.id for job in jobs)


async def test_not_run_while_it_waits_for_a_thread(queue: Queue) -> None:
    """It is not noted as run, and holds nobody up."""
    gate, taken = threading.Event(), threading.Event()

    @queue.task
    def wait() -> None:
        taken.set()
        gate.wait(PATIENCE)

    @queue.task
    def note() -> str:
        return threading.current_thread().name

    @queue.task
    async def plain() -> None: ...

    jobs = [await note.enqueue() for _ in range(3)]
    await suspect(queue)
    keys, call = core_of(queue).session().store.keys, core_of(queue).session().store.call
    # Returned work goes first: so that the thread is taken, the others must be paused. Before the
    # worker starts, as it may have run one before it hears of the pause.
    await queue.pause(task=note)
    async with Worker(queue, threads=1) as worker:
        await wait.enqueue()
        await wait_until(taken.is_set, "the thread to be taken")
        await queue.resume(task=note)
        await plain.enqueue()
        await wait_until(lambda: worker.finished == 1, "the plain one to end")
        for job in jobs:
            assert not await call("HEXISTS", keys.job(job.id), "x")
        gate.set()
        names = await asyncio.gather(*(job.result(timeout=PATIENCE) for job in jobs))
    assert all(name.startswith("aiostreamq") for name in names)


async def is_running(job: Job[None]) -> bool:
    """Say whether a worker has it."""
    return await job.status() is JobState.RUNNING


async def test_cancelled_while_it_waits_for_a_thread(queue: Queue) -> None:
    """It ends at once, and is not called when there is a thread."""
    gate, taken, ran = threading.Event(), threading.Event(), list[str]()

    @queue.task
    def wait() -> None:
        taken.set()
        gate.wait(PATIENCE)

    @queue.task
    def note(context: Context) -> None:
        ran.append(context.job_id)

    job = await note.enqueue()
    await suspect(queue)
    async with Worker(queue, threads=1) as worker:
        await queue.pause(task=note)
        blocking = await wait.enqueue()
        await wait_until(taken.is_set, "the thread to be taken")
        await queue.resume(task=note)
        await wait_until(lambda: is_running(job), "the suspect to be here")
        assert await job.cancel() is JobState.RUNNING
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
        gate.set()
        await blocking.result(timeout=PATIENCE)
        assert await note.enqueue()
        await wait_until(lambda: worker.finished == 2, "another one to end")
    assert len(ran) == 1
    assert ran != [job.id]


async def test_they_do_not_starve_the_others(store_url: str) -> None:
    """Where there are several lanes too, what waits there gets its part of each read."""
    finished: list[str] = []
    have_run = asyncio.Event()
    async with Queue(store_url, lanes={"default": 2, "low": 1}) as queue:

        @queue.task
        async def note(name: str) -> None:
            if name == "suspect" and len(finished) >= 3:
                await have_run.wait()
            finished.append(name)

        suspects = [await note.enqueue("suspect") for _ in range(20)]
        await suspect(queue)
        plain = [await note.using(lane=lane).enqueue(lane) for lane in ("default", "low")]
        async with Worker(queue, concurrency=10):
            await asyncio.gather(*(job.result(timeout=PATIENCE) for job in plain))
            have_run.set()
            await asyncio.gather(*(job.result(timeout=PATIENCE) for job in suspects))
