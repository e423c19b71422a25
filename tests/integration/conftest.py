"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator

import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis

from aiostreamq import Queue, Worker
from aiostreamq.client import job_event_follower
from aiostreamq.client.results import inbox
from aiostreamq.worker.control import listener
from aiostreamq.worker.due import promoter, ticker
from aiostreamq.worker.fetch import held_source, reader
from aiostreamq.worker.reroute import parking
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

# pydantic looks for its plugins when first used: once in a process, and mostly while modules are
# imported. Here tasks are registered inside tests, so it happens before anyone watches.
TypeAdapter(set[int])


#: What is done now and then lest something that was lost stay unseen, and what ends by itself.
SECOND_LOOKS = (
    *((inbox, "SWEEP"), (inbox, "BLOCK"), (job_event_follower, "BLOCK_MS")),
    *((reader, "BLOCK_MS"), (listener, "BLOCK_MS"), (held_source, "INTERVAL")),
    *((promoter, "LONGEST_SLEEP"), (ticker, "LONGEST_SLEEP"), (parking, "INTERVAL")),
)


def look_again_every(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set how often clients and workers of this process look again."""
    for module, name in SECOND_LOOKS:
        monkeypatch.setattr(module, name, seconds * 1000 if name.endswith("_MS") else seconds)
    defaults = Worker.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "lease", seconds)


@pytest.fixture(autouse=True)
def no_second_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found by looking again, unless a test says how soon.

    What a test waits for has then come because it was told, and not because a loaded machine took
    so long that the next look came first.
    """
    look_again_every(3600, monkeypatch)


@pytest.fixture
def second_looks(no_second_looks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is lost be found soon: what Redis sends to a connection that has just broken is."""
    look_again_every(3, monkeypatch)


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
