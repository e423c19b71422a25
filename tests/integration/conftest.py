"""What integration tests can ask for."""

from collections.abc import AsyncIterator

import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis

from aiostreamq import Queue
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

# pydantic looks for its plugins when first used: once in a process, and mostly while modules are
# imported. Here tasks are registered inside tests, so it happens before anyone watches.
TypeAdapter(set[int])


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue without tasks, on a real Redis and in memory."""
    async with Queue(store_url) as queue:
        yield queue


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the shared server."""
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def proxy(redis_url: str, redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy before the shared server, which is empty."""
    async with Proxy(redis_server.port) as proxy:
        yield proxy
