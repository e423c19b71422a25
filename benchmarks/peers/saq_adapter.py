# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""SAQ: orjson, no socket timeout under its endless BLMOVE, a wide pool."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvloop
from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue

from benchmarks.harness import CONCURRENCY, Client, bodies, main

POLL_SECONDS = 0.0005

#: SAQ's default. A gathered enqueue is slower with 5, with 100 and with 1,000.
CLIENT_OPERATIONS = 20


async def noop(_context: dict[str, Any], *, number: int) -> None:
    """Do nothing but be counted."""
    bodies.note()


async def keep(_context: dict[str, Any], *, text: str) -> None:
    """Carry a payload of known size."""


def open_queue(url: str, operations: int) -> RedisQueue:
    """Open a queue that has up to *operations* commands under way at once."""
    # The worker holds a connection for each of its slots.
    redis = Redis.from_url(url, socket_timeout=None, max_connections=2000)
    return RedisQueue(
        redis, name="bench", dump=orjson.dumps, load=orjson.loads, max_concurrent_ops=operations
    )


class SaqClient(Client):
    """SAQ has no bulk call that saves round trips."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue = queue

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._queue.enqueue("noop", number=number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._queue.enqueue("keep", text=text)

    async def round_trip(self, number: int) -> object:
        """Enqueue and poll for the result, which is quicker for a single job."""
        return await self._queue.apply("noop", poll_interval=POLL_SECONDS, number=number)

    async def round_trip_in_flight(self, number: int) -> object:
        """Enqueue and wait on pub/sub, which is quicker than 500 pollers."""
        job = await self._queue.enqueue("noop", number=number)
        assert job is not None
        return await job.refresh(until_complete=0)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[SaqClient]:
    """Open a client for the harness."""
    queue = open_queue(url, CLIENT_OPERATIONS)
    await queue.connect()
    # A starting worker sweeps at once, and takes a job that has just been fetched
    # for a lost one. This makes it believe that another worker swept a moment ago.
    await queue.sweep()
    try:
        yield SaqClient(queue)
    finally:
        await queue.disconnect()


def work(url: str) -> None:
    """Run one worker process; SAQ handles SIGTERM itself."""

    async def serve() -> None:
        queue = open_queue(url, CONCURRENCY)
        await queue.connect()
        await Worker(queue, [noop, keep], concurrency=CONCURRENCY).start()
        await queue.disconnect()

    uvloop.run(serve())


if __name__ == "__main__":
    main(connect, work)
