"""Redis has no memory left: producers are told, and what was taken can still be ended."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import BrokerError
from aiostreamq.model.delivery import Mark
from tests.support.redis_server import RedisServer
from tests.support.store import Store, outcome_of


@pytest.fixture
async def full(own_redis_server: RedisServer) -> AsyncIterator[tuple[Store, RedisServer]]:
    """A store and its server, to be filled up."""
    async with Store(own_redis_server.url) as store:
        yield store, own_redis_server


async def test_enqueue(full: tuple[Store, RedisServer]) -> None:
    """It is refused at once with Redis's reason, and leaves nothing behind."""
    store, server = full
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerError, match="OOM"):
        await store.enqueue("a")
    assert "job:a" not in await store.key_names()


async def test_settle(full: tuple[Store, RedisServer]) -> None:
    """What runs gets to its end: results are kept and waiters told."""
    store, server = full
    delivery = await store.deliver("a", mark=Mark.CALLER)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.settle(delivery) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(delivery)
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


async def test_hand_back(full: tuple[Store, RedisServer]) -> None:
    """A worker that stops can give back what it has."""
    store, server = full
    delivery = await store.deliver("a")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.broker.hand_back([delivery]) == 1
