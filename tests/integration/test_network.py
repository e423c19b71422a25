"""The network between loses replies and connections."""

import asyncio
import random
from collections import Counter

import pytest
from redis.asyncio import Redis

from aiostreamq import Queue, Worker
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

STREAM = "aiostreamq:{default}:stream:default"


async def test_reply_to_an_enqueue_is_lost(proxy: Proxy, client: Redis) -> None:
    """It ran, its reply did not arrive, it is sent again: one job."""
    async with Queue(proxy.url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        proxy.drop_replies(1, to=b"EVALSHA")
        job = await same.enqueue(1)
        assert proxy.replies_dropped == 1
        assert await client.xlen(STREAM) == 1
        async with Worker(queue):
            assert await job == 1


@pytest.mark.parametrize("many", [False, True])
async def test_replies_to_many_enqueues_are_lost(proxy: Proxy, client: Redis, many: bool) -> None:
    """However many, however often: each job is there once."""
    count = 3_000
    async with Queue(proxy.url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        for _ in range(3):
            before = proxy.replies_dropped
            proxy.drop_replies(1, to=b"EVALSHA")
            if many:
                await queue.enqueue_many(same.bind(n) for n in range(count))
            else:
                await asyncio.gather(*(same.enqueue(n) for n in range(count)))
            assert proxy.replies_dropped > before
    assert await client.xlen(STREAM) == 3 * count


async def test_notices_are_lost(redis_url: str, proxy: Proxy) -> None:
    """Whoever waits gets the result all the same, soon after the connection is back."""
    async with Queue(proxy.url) as queue, Queue(redis_url) as other:

        async def same(n: int) -> int:
            return n

        task = queue.task(same)
        other.task(same)
        async with Worker(other):
            assert await (await task.enqueue(0)) == 0
            for _ in range(5):
                before = proxy.replies_dropped
                proxy.drop_replies(1, to=b"BLPOP")
                async with asyncio.timeout(PATIENCE):
                    while proxy.replies_dropped == before:
                        jobs = await asyncio.gather(*(task.enqueue(n) for n in range(20)))
                        assert await asyncio.gather(*jobs) == list(range(20))


@pytest.mark.usefixtures("second_looks")
async def test_everything_is_cut_again_and_again(redis_url: str, proxy: Proxy) -> None:
    """Client and worker continue where they were; every await resolves."""
    async with Queue(proxy.url) as queue:

        @queue.task
        async def work(n: int) -> int:
            await asyncio.sleep(0.001)
            return n

        async with Worker(queue, concurrency=20), asyncio.timeout(PATIENCE):
            jobs = await queue.enqueue_many(work.bind(n) for n in range(500))
            results = [asyncio.ensure_future(job.result()) for job in jobs]
            for _ in range(6):
                ended = sum(result.done() for result in results)
                proxy.cut()
                await wait_until(
                    lambda ended=ended: sum(r.done() for r in results) >= min(500, ended + 40),
                    "some more to end",
                    timeout=10,
                )
            assert await asyncio.gather(*results) == list(range(500))


async def test_delivered_but_never_read(proxy: Proxy, redis_url: str) -> None:
    """Jobs that were sent to a worker whose connection was cut run once it is back."""
    ran: Counter[int] = Counter()
    async with Queue(proxy.url) as queue, Queue(redis_url) as other:

        @queue.task
        async def note(n: int) -> int:
            ran[n] += 1
            return n

        for n in range(50):
            await other.enqueue("note", n)
        proxy.drop_replies(1, to=b"XREADGROUP")
        async with Worker(queue, concurrency=10):
            await wait_until(lambda: len(ran) == 50, "all to run")
        assert proxy.replies_dropped == 1
    assert ran == Counter(range(50))


@pytest.mark.usefixtures("second_looks")
async def test_settling_is_cut(proxy: Proxy, client: Redis) -> None:
    """An end whose confirmation is lost is told again and stays the same."""
    ran: Counter[int] = Counter()
    async with Queue(proxy.url) as queue:

        @queue.task
        async def note(n: int) -> int:
            proxy.drop_replies(1, to=b"EVALSHA")
            ran[n] += 1
            return n

        async with Worker(queue), asyncio.timeout(PATIENCE):
            for n in range(5):
                assert await (await note.enqueue(n)) == n
    assert ran == Counter(range(5))
    assert await client.xlen(STREAM) == 0


async def test_cancellation_storm(redis_url: str, client: Redis) -> None:
    """A thousand callers go away at any moment: the others' replies stay right."""
    draw = random.Random(11)
    async with Queue(redis_url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async def enqueue_and_await(n: int) -> int:
            return await (await same.enqueue(n))

        async with Worker(queue):
            assert await enqueue_and_await(0) == 0
            before = {one["id"] for one in await client.client_list()}
            storm = [asyncio.ensure_future(enqueue_and_await(n)) for n in range(1_000)]
            for task in draw.sample(storm, 1_000):
                if draw.random() < 0.05:
                    await asyncio.sleep(0)
                if draw.random() < 0.9:
                    task.cancel()
            told = await asyncio.gather(*storm, return_exceptions=True)
            for n, one in enumerate(told):
                assert one == n or isinstance(one, asyncio.CancelledError)
            calm = await asyncio.gather(*(enqueue_and_await(n) for n in range(300)))
            assert calm == list(range(300))
            assert {one["id"] for one in await client.client_list()} <= before


@pytest.mark.usefixtures("second_looks")
async def test_partial_reply(proxy: Proxy) -> None:
    """A reply of which only a part arrives is no reply."""
    async with Queue(proxy.url) as queue:

        @queue.task
        async def text(size: int) -> str:
            return "x" * size

        async with Worker(queue), asyncio.timeout(PATIENCE):
            for size in (10, 3_000, 50_000):
                job = await text.enqueue(size)
                proxy.cut_after(draw_bytes(size))
                assert len(await job) == size


def draw_bytes(size: int) -> int:
    """Return a number of bytes that ends within the outcome."""
    return size // 2 + 5


async def test_slow_network(proxy: Proxy, client: Redis) -> None:
    """Where each way takes its time, jobs still travel together."""

    async def calls() -> int:
        told = await client.info("commandstats")
        return int(told["cmdstat_evalsha"]["calls"])

    async with Queue(proxy.url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async with Worker(queue):
            proxy.delay = 0.01
            before = await calls()
            jobs = await asyncio.gather(*(same.enqueue(n) for n in range(500)))
            assert await asyncio.gather(*jobs) == list(range(500))
            assert await calls() - before < 100, "one by one, it would be a thousand"
            proxy.delay = 0
