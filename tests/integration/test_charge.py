"""`Context.charge`: what a job has cost, once it is known."""

import asyncio
import logging
from typing import cast

import pytest

from aiostreamq import (
    Context,
    JobFailed,
    JobState,
    Queue,
    QueueClient,
    Rate,
    UsageError,
    Worker,
)
from aiostreamq.testing import isolated
from aiostreamq.worker.run.process_call import NoQueue
from tests.support.waiting import PATIENCE, wait_until

TOKENS = Rate("100/h", name="tokens", key="model", cost="estimate")


async def test_waiting_job_starts_when_less_was_used(store_url: str) -> None:
    """The job before it has reserved all there is, and says that it has used little."""
    queue, is_open = Queue(store_url), asyncio.Event()

    @queue.task(limits=[TOKENS])
    async def ask(ctx: Context, model: str, estimate: int) -> bool:
        await is_open.wait()
        return await ctx.charge("tokens", 7.5)

    async with queue, Worker(queue):
        first = await ask.enqueue("a", 100)

        async def is_running() -> bool:
            return await first.status() == JobState.RUNNING

        await wait_until(is_running, "the first to run")
        second = await ask.enqueue("a", 90)
        info = await second.info()
        assert info.wait is not None
        assert info.wait.limit == "tokens:a"
        is_open.set()
        assert await first.result(timeout=PATIENCE)
        assert await second.result(timeout=PATIENCE)


async def test_job_that_used_more_delays_others(store_url: str) -> None:
    """Of the same value of the key; others go on."""
    queue = Queue(store_url)

    @queue.task(limits=[TOKENS])
    async def ask(ctx: Context, model: str, estimate: int) -> bool:
        return await ctx.charge("tokens", 150)

    async with queue, Worker(queue):
        assert await (await ask.enqueue("a", 1)).result(timeout=PATIENCE)
        wait = await queue.limits.explain(ask, "a", 1)
        assert wait.limit == "tokens:a"
        assert await (await ask.enqueue("b", 1)).result(timeout=PATIENCE)


@pytest.mark.parametrize("cost", [-1, float("nan"), float("inf"), 1e10, True, "7", None])
async def test_invalid_cost(store_url: str, cost: float) -> None:
    """It is refused, and says what is wrong."""
    queue = Queue(store_url)

    @queue.task(limits=[TOKENS])
    async def ask(ctx: Context, model: str, estimate: int) -> None:
        await ctx.charge("tokens", cost)

    async with queue, Worker(queue):
        with pytest.raises(JobFailed, match="give a cost from 0 to 1000000000"):
            await (await ask.enqueue("a", 1)).result(timeout=PATIENCE)


async def test_unknown_limit(store_url: str) -> None:
    """It is refused, also in a task that has no limits."""
    queue = Queue(store_url)

    @queue.task
    async def ask(ctx: Context) -> None:
        await ctx.charge("tokens", 1)

    async with queue, Worker(queue):
        with pytest.raises(JobFailed, match="task 'ask' has no Rate of this name"):
            await (await ask.enqueue()).result(timeout=PATIENCE)


async def test_lost_job(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose job has gone to another worker charges nothing, and continues."""
    caplog.set_level(logging.WARNING, "aiostreamq.worker")
    queue, is_open = Queue(store_url), asyncio.Event()
    charged: list[bool] = []

    @queue.task(limits=[TOKENS])
    async def ask(ctx: Context, model: str, estimate: int) -> None:
        asyncio.get_running_loop().create_task(_later(ctx))  # awaited below

    async def _later(ctx: Context) -> None:
        await is_open.wait()
        charged.append(await ctx.charge("tokens", 5))

    async with queue, Worker(queue):
        await (await ask.enqueue("a", 1)).result(timeout=PATIENCE)
        is_open.set()
        await wait_until(lambda: charged, "the charge")
    assert charged == [False]
    assert "is not charged: it has left this worker" in caplog.text


async def test_without_a_worker() -> None:
    """`perform` runs the task, and charges nothing."""
    queue = Queue(name="app")

    @queue.task(limits=[TOKENS])
    async def ask(ctx: Context, model: str, estimate: int) -> bool:
        return await ctx.charge("tokens", 5)

    async with isolated(queue) as test:
        assert await test.perform(ask, "a", 1) is False
        await ask.enqueue("a", 1)
        (run,) = await test.run_all()
        assert run.value is True


async def test_in_a_process() -> None:
    """It is refused, as a process has no connection."""
    queue = cast("QueueClient", NoQueue("ask"))
    context = Context("7", "ask", 1, 1, queue, "w1")
    with pytest.raises(UsageError, match="task 'ask' runs in a process"):
        await context.charge("tokens", 1)
