"""Jobs of limited tasks in lanes and from lanes, run by workers."""

import asyncio

import pytest

from aiostreamq import Concurrency, Queue, Worker
from tests.support.waiting import PATIENCE

LANES = {"default": 1, "slow": 1}


@pytest.mark.parametrize("paused", [None, "default"])
async def test_job_of_another_lane_than_its_task(store_url: str, paused: str | None) -> None:
    """It is run by the worker of that lane, whether or not the lane of its task is paused."""
    async with Queue(store_url, lanes=LANES) as queue:

        @queue.task(limits=[Concurrency(1)])
        async def work() -> str:
            return "done"

        if paused:
            await queue.pause(lane=paused)
        job = await work.using(lane="slow").enqueue()
        async with Worker(queue, lanes=["slow"]), asyncio.timeout(PATIENCE):
            assert await job == "done"


async def test_queued_before_the_limit_was_added(store_url: str) -> None:
    """Jobs that wait in a lane when a worker comes which knows of the limit do not pass it."""
    running = 0
    async with Queue(store_url) as queue:

        @queue.task(limits=[Concurrency(1)])
        async def work() -> int:
            nonlocal running
            running += 1
            await asyncio.sleep(0.01)
            running -= 1
            return running

        plain = Queue(store_url)

        @plain.task(name="work")
        async def same() -> int:
            raise AssertionError

        async with plain:
            jobs = [await same.enqueue() for _ in range(10)]
            async with Worker(queue, concurrency=10), asyncio.timeout(PATIENCE):
                ends = [await job for job in jobs]
    assert ends == [0] * 10
