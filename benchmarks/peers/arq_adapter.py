# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""arq: both polls at half a millisecond, no line logged per result."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker

from benchmarks.harness import CONCURRENCY, Client, bodies, main

POLL_SECONDS = 0.0005

#: A poll reads five times the concurrency by default, mostly ids that have been
#: taken already; twice is up to two thirds quicker.
READ_LIMIT = 2 * CONCURRENCY


async def noop(_context: dict[str, Any], number: int) -> None:
    """Do nothing but be counted."""
    bodies.note()


async def keep(_context: dict[str, Any], text: str) -> None:
    """Carry a payload of known size."""


def settings(url: str) -> RedisSettings:
    """Return the settings for *url*, patient enough to open 1,000 connections at once."""
    return replace(RedisSettings.from_dsn(url), conn_timeout=30)


class ArqClient(Client):
    """arq has no bulk call."""

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._pool.enqueue_job("noop", number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._pool.enqueue_job("keep", text)

    async def round_trip(self, number: int) -> object:
        """Enqueue and poll for the result."""
        job = await self._pool.enqueue_job("noop", number)
        assert job is not None
        return await job.result(poll_delay=POLL_SECONDS)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[ArqClient]:
    """Open a client for the harness."""
    pool = await create_pool(settings(url))
    try:
        yield ArqClient(pool)
    finally:
        await pool.aclose()


def work(url: str) -> None:
    """Run one worker process; arq handles SIGTERM itself."""
    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker(
        [noop, keep],
        redis_settings=settings(url),
        max_jobs=CONCURRENCY,
        poll_delay=POLL_SECONDS,
        queue_read_limit=READ_LIMIT,
        log_results=False,
    ).run()


if __name__ == "__main__":
    main(connect, work)
