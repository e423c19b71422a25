"""Many jobs at once."""

import asyncio
import json
import random
from collections import Counter

from redis.asyncio import Redis

from aiostreamq import Job, JobFailed, Queue, Worker
from tests.conftest import LeakCheck
from tests.support.processes import Program
from tests.support.waiting import wait_until

MOST_CONNECTIONS = 5


async def count_connections(client: Redis) -> int:
    """Count the clients of the server, but for the one that asks."""
    found = await client.client_list()
    return sum(one["name"].startswith("aiostreamq") for one in found)


async def test_connections(redis_url: str, client: Redis) -> None:
    """With 2,000 jobs awaited at once a process has five connections at most."""
    gate = asyncio.Event()
    async with Queue(redis_url) as queue:

        @queue.task
        async def wait(n: int) -> int:
            await gate.wait()
            return n

        async with Worker(queue):
            jobs = await asyncio.gather(*(wait.enqueue(n) for n in range(2_000)))
            waiting = [asyncio.ensure_future(job.result()) for job in jobs]
            again = [asyncio.ensure_future(queue.job(job.id).result()) for job in jobs[:500]]
            await jobs[0].status()
            assert 0 < await count_connections(client) <= MOST_CONNECTIONS
            gate.set()
            assert await asyncio.gather(*waiting) == list(range(2_000))
            assert await asyncio.gather(*again) == list(range(500))
            assert await count_connections(client) <= MOST_CONNECTIONS

    async def are_closed() -> bool:
        return await count_connections(client) == 0

    await wait_until(are_closed, "all connections to be closed")


async def test_each_settled_once(redis_url: str, client: Redis, assert_no_leaks: LeakCheck) -> None:
    """10,000 jobs that sleep, fail, and are abandoned by who awaits them: each ends once."""
    count = 10_000
    ran: Counter[int] = Counter()
    draw = random.Random(7)
    async with Queue(redis_url) as queue:

        @queue.task
        async def work(n: int, seconds: float) -> int:
            ran[n] += 1
            if seconds:
                await asyncio.sleep(seconds)
            if n % 7 == 0:
                raise ValueError(n)
            return n

        naps = [draw.choice([0, 0, 0, draw.random() / 200]) for _ in range(count)]
        jobs = await queue.enqueue_many(work.bind(n, nap) for n, nap in enumerate(naps))
        waiting = [asyncio.ensure_future(job.result()) for job in jobs]
        async with Worker(queue, concurrency=200), Worker(queue, concurrency=100):
            for task in draw.sample(waiting, count // 5):
                task.cancel()
                if draw.random() < 0.05:
                    await asyncio.sleep(0)
            told = await asyncio.gather(*waiting, return_exceptions=True)
            # Whoever was cancelled may ask again.
            again = await asyncio.gather(*jobs, return_exceptions=True)
    assert ran == Counter(range(count))
    for n, (first, second) in enumerate(zip(told, again, strict=True)):
        if not isinstance(first, asyncio.CancelledError):
            assert outcome(first) == outcome(second)
        assert outcome(second) == (f"ValueError: {n}" if n % 7 == 0 else n)
    assert await client.xlen("aiostreamq:{default}:stream:default") == 0
    await assert_no_leaks(client)


def outcome(told: object) -> object:
    """Return what can be compared of a result."""
    return str(told) if isinstance(told, JobFailed) else told


async def test_three_processes_await_the_same(redis_url: str) -> None:
    """Each of them gets all results, whether it began to wait before or after the end."""
    async with Queue(redis_url, name="shared") as queue:

        @queue.task
        async def double(n: int) -> int:
            return 2 * n

        jobs: list[Job[int]] = await queue.enqueue_many(double.bind(n) for n in range(500))
        ids = "\n".join(job.id for job in jobs)
        arguments = ("-m", "tests.support.awaiter", redis_url, "shared")
        async with (
            Program(*arguments, send=ids) as one,
            Program(*arguments, send=ids) as other,
        ):
            for program in (one, other):
                await program.wait_for_line("ready")
            async with Worker(queue), Program(*arguments, send=ids) as late:
                for program in (one, other, late):
                    assert await program.wait_end() == 0
                    assert json.loads(program.lines[-1]) == [2 * n for n in range(500)]
                assert await asyncio.gather(*jobs) == [2 * n for n in range(500)]
