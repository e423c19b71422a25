"""Lanes by weight, through the public face."""

import asyncio
from collections import Counter

import pytest

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.keys import GROUP
from aiostreamq.store.workers import WorkerRegistry
from tests.support.waiting import PATIENCE

WEIGHTS = {"high": 8, "default": 4, "low": 1}


@pytest.mark.heavy_in_memory
async def test_shares_while_all_are_full(store_url: str) -> None:
    """What runs is within a tenth of the weights."""
    ran = Counter[str]()
    enough = asyncio.Event()
    async with Queue(store_url, lanes=WEIGHTS) as queue:

        @queue.task(result_ttl=0)
        async def note(lane: str) -> None:
            await asyncio.sleep(0)
            if not enough.is_set():
                ran[lane] += 1
            if ran.total() == 650:
                enough.set()

        calls = [note.using(lane=lane).bind(lane) for _ in range(800) for lane in WEIGHTS]
        await queue.enqueue_many(calls)
        async with Worker(queue, concurrency=20):
            await enough.wait()
    for lane, weight in WEIGHTS.items():
        assert ran[lane] / ran.total() == pytest.approx(weight / 13, rel=0.1)


@pytest.mark.heavy_in_memory
async def test_high_job_behind_many_low_ones(store_url: str) -> None:
    """It starts soon, however many others came before it: few of those are started in between."""
    began = 0
    async with Queue(store_url, lanes=WEIGHTS) as queue:

        @queue.task(result_ttl=0, lane="low")
        async def low() -> None:
            nonlocal began
            began += 1
            await asyncio.sleep(0.01)

        @queue.task(lane="high")
        async def high() -> int:
            return began

        await queue.enqueue_many(low.bind() for _ in range(5_000))
        async with Worker(queue, concurrency=10, shutdown_timeout=0.01):
            ahead: list[int] = []
            for _ in range(20):
                job = await high.enqueue()
                before = began
                ahead.append(await job - before)
        assert began < 5_000, "there were always low ones that waited"
    assert sorted(ahead)[len(ahead) // 2] < 100


async def test_worker_of_some_lanes(store_url: str) -> None:
    """It leaves the others alone, also what was returned of them."""
    async with Queue(store_url, lanes=WEIGHTS) as queue:
        began, may_end = asyncio.Event(), asyncio.Event()

        @queue.task(lane="low")
        async def low() -> str:
            began.set()
            await may_end.wait()
            return "low"

        @queue.task(lane="high")
        async def high() -> str:
            return "high"

        job = await low.enqueue()
        async with Worker(queue, shutdown_timeout=0.01):
            await began.wait()
        # It was cut short and handed back, for anybody.
        may_end.set()
        began.clear()
        async with Worker(queue, lanes=["high", "default"]):
            assert await (await high.enqueue()) == "high"
        assert not began.is_set()
        async with Worker(queue, lanes=["low"]):
            assert await job == "low"


async def test_lane_that_is_not_there(store_url: str) -> None:
    """Serving it is refused at once."""
    async with Queue(store_url, lanes=WEIGHTS) as queue:
        with pytest.raises(UsageError, match="no lane 'hihg'"):
            Worker(queue, lanes=["hihg"])


async def test_lane_of_a_dead_worker(store_url: str) -> None:
    """Workers that do not know it take over what a dead one had of it, after its lease."""
    async with Queue(store_url, lanes=["default", "new"]) as newer, Queue(store_url) as older:

        @newer.task(lane="new")
        async def size() -> None:
            """Is never run by a worker of the newer release."""

        @older.task(name="size")
        async def _() -> str:
            return "recovered"

        job = await newer.enqueue("size")
        broker = core_of(newer).session().store
        await WorkerRegistry(broker).join("dead", 1_000, newer.lanes)
        command = ("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", broker.keys.stream("new"), ">")
        assert await broker.call(*command)
        async with Worker(older):
            assert await job.result(timeout=PATIENCE) == "recovered"
