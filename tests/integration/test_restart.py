"""Redis goes away and comes back."""

import asyncio

import pytest

from aiostreamq import JobError, Queue, Worker
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

COUNT = 1_000

REPAIRED = "the streams and groups of the queue are there again after"


async def await_over(server: RedisServer, *, during: str) -> list[object]:
    """Restart *server* while 1,000 awaits are pending; return what they came to."""
    gate = asyncio.Event()
    async with Queue(server.url) as queue:

        @queue.task
        async def wait(n: int) -> int:
            await gate.wait()
            return n

        @queue.task
        async def same(n: int) -> int:
            return n

        jobs = await queue.enqueue_many(wait.bind(n) for n in range(COUNT))
        waiting = [asyncio.ensure_future(job.result()) for job in jobs]
        async with Worker(queue, concurrency=50):
            await jobs[0].status()
            if during == "running":
                gate.set()
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            server.kill()
            server.start()
            gate.set()
            async with asyncio.timeout(PATIENCE):
                told = await asyncio.gather(*waiting, return_exceptions=True)
                assert await (await same.enqueue(7)) == 7, "and life goes on"
    return list(told)


@pytest.mark.parametrize("during", ["waiting", "running"])
async def test_nothing_was_kept(own_redis_server: RedisServer, during: str) -> None:
    """Every await resolves or raises; nothing hangs."""
    told = await await_over(own_redis_server, during=during)
    for n, one in enumerate(told):
        assert one == n or isinstance(one, JobError)
    assert during == "running" or any(isinstance(one, JobError) for one in told)


@pytest.mark.parametrize("during", ["waiting", "running"])
async def test_everything_was_kept(during: str) -> None:
    """With an append-only file every job gets to its end and every result arrives."""
    with RedisServer(appendonly=True) as server:
        assert await await_over(server, during=during) == list(range(COUNT))


async def test_enqueue_over_a_restart(own_redis_server: RedisServer) -> None:
    """An enqueue that meets the gap continues trying until Redis is back."""
    async with Queue(own_redis_server.url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        own_redis_server.kill()
        sending = [asyncio.ensure_future(same.enqueue(n)) for n in range(100)]
        await asyncio.sleep(0)
        own_redis_server.start()
        async with asyncio.timeout(PATIENCE), Worker(queue):
            jobs = await asyncio.gather(*sending)
            assert await asyncio.gather(*jobs) == list(range(100))


async def test_all_keys_deleted(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker and a client outlive FLUSHALL: streams and groups are created, which is logged."""
    async with Queue(own_redis_server.url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async with Worker(queue), asyncio.timeout(PATIENCE):
            for n in range(5):
                assert await (await same.enqueue(n)) == n
                own_redis_server.flush()
                own_redis_server.ask("SCRIPT", "FLUSH")
            await wait_until(lambda: REPAIRED in caplog.text, "the repair to be logged")
    assert "streams or groups of the queue are gone, creating them again: " in caplog.text
    assert "not responding" not in caplog.text
