"""A worker that stops finishes or requeues what it has."""

import asyncio

import pytest

from aiostreamq import Context, Job, JobState, Queue, Worker
from aiostreamq.worker.fetch import reader
from aiostreamq.worker.run import stopper
from tests.support.waiting import PATIENCE, be_in_time, wait_until


async def test_handed_back(store_url: str, queue: Queue) -> None:
    """A worker that stops hands back what it has not started and what does not end in time.

    Another worker finishes it, and it has cost the jobs no attempt.
    """
    started: list[int] = []
    cut_short: list[int] = []
    is_first = True

    @queue.task
    async def work(ctx: Context, n: int) -> tuple[int, int]:
        if is_first:
            started.append(n)
            try:
                await asyncio.Event().wait()
            finally:
                cut_short.append(n)
        return n, ctx.attempt

    jobs = await queue.enqueue_many(work.bind(n) for n in range(20))
    async with Worker(queue, concurrency=3, shutdown_timeout=0.05):
        await wait_until(lambda: len(started) == 3, "three to run")
    assert sorted(cut_short) == [0, 1, 2]
    assert {await job.status() for job in jobs} == {JobState.QUEUED}

    is_first = False
    async with Worker(queue), asyncio.timeout(PATIENCE):
        assert [tuple(await job) for job in jobs] == [(n, 1) for n in range(20)]


async def test_running_jobs_end(queue: Queue) -> None:
    """What ends within the deadline ends where it runs, and its result is kept."""
    gate, started = asyncio.Event(), asyncio.Event()
    ran: list[str] = []

    @queue.task
    async def work() -> str:
        started.set()
        ran.append("once")
        await gate.wait()
        return "done"

    job = await work.enqueue()
    worker = Worker(queue, shutdown_timeout=60)
    running = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await running
        assert await job == "done"
    assert ran == ["once"]


async def test_nothing_new_is_started(queue: Queue) -> None:
    """From the first moment of a drain on no job is begun."""
    started: list[int] = []
    gate = asyncio.Event()

    @queue.task
    async def work(n: int) -> None:
        started.append(n)
        await gate.wait()

    jobs = await queue.enqueue_many(work.bind(n) for n in range(50))
    worker = Worker(queue, concurrency=2, shutdown_timeout=60)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: len(started) == 2, "two to run")
    worker.stop()
    await asyncio.sleep(0)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await running
    assert sorted(started) == [0, 1]
    states = [await job.status() for job in jobs]
    assert states == [JobState.DONE] * 2 + [JobState.QUEUED] * 48


async def test_a_busy_worker_stops_at_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all slots taken there is nothing to wait for but the jobs themselves."""
    monkeypatch.setattr(reader, "STOP_TIME", 3600)
    started, gate = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work() -> None:
        started.set()
        await gate.wait()

    job = await work.enqueue()
    async with asyncio.timeout(PATIENCE):
        async with Worker(queue, concurrency=1, shutdown_timeout=3600):
            await started.wait()
            gate.set()
        await job
    gate.clear()
    started.clear()
    job = await work.enqueue()
    async with (
        asyncio.timeout(PATIENCE),
        Worker(queue, concurrency=1, shutdown_timeout=0.05),
    ):
        await started.wait()
    assert await job.status() is JobState.QUEUED


async def test_task_that_ignores_the_end(queue: Queue) -> None:
    """It is handed back too; that it ends late changes nothing."""
    gate, started = asyncio.Event(), asyncio.Event()
    is_stubborn = True
    ended: list[str] = []

    @queue.task
    async def work() -> str:
        if not is_stubborn:
            return "second"
        started.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                if len(ended) == 0:
                    ended.append("asked to")
                    gate.set()
        return "first"

    job = await work.enqueue()
    async with Worker(queue, shutdown_timeout=0.05):
        await started.wait()
    assert ended == ["asked to"]
    is_stubborn = False
    async with Worker(queue), asyncio.timeout(PATIENCE):
        # It got to its end while it cleaned up: that is its outcome.
        assert await job == "first"


async def test_timeout_while_cleaning_up(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose time is up while it cleans up for its worker's end is run again all the same."""
    monkeypatch.setattr(stopper, "CLEANUP_TIME", 3600)
    started = asyncio.Event()
    is_first = True

    @queue.task
    async def work(seconds: float) -> str:
        if not is_first:
            return "done"
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2 * seconds)
        return "never"

    async def end_with_it(soon: float) -> Job[str] | None:
        started.clear()
        job = await work.using(timeout=soon).enqueue(soon)
        async with Worker(queue, shutdown_timeout=0):
            await started.wait()
        is_late = await job.status() is JobState.TIMED_OUT  # before the worker's end came
        return None if is_late else job

    job = await be_in_time(end_with_it)
    assert await job.status() is JobState.QUEUED
    is_first = False
    async with Worker(queue), asyncio.timeout(PATIENCE):
        assert await job == "done"


async def test_rolling_restart(store_url: str) -> None:
    """Workers that come and go lose nothing and run nothing twice that has ended."""
    ended: list[int] = []
    async with Queue(store_url) as queue:

        @queue.task
        async def work(n: int) -> int:
            await asyncio.sleep(0.002)
            ended.append(n)
            return n

        jobs = await queue.enqueue_many(work.bind(n) for n in range(300))
        results = asyncio.gather(*jobs)
        for _ in range(5):
            goal = min(300, len(ended) + 20)
            async with Worker(queue, concurrency=10):
                await wait_until(lambda goal=goal: len(ended) >= goal, "some to end")
        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert await results == list(range(300))
    assert sorted(ended) == list(range(300))
