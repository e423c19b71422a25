"""Sentinels say where the master is."""

import asyncio
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.connection.connector import connector_for
from tests.support.sentinels import SERVICE, Sentinels
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A master, its replica and three sentinels."""
    with Sentinels() as sentinels:
        yield sentinels


def client_of(sentinels: Sentinels) -> Redis:
    """Return a client as users make it."""
    return Sentinel([("127.0.0.1", port) for port in sentinels.ports]).master_for(SERVICE)


async def test_two_event_loops(sentinels: Sentinels) -> None:
    """The worker's loop and that of its beat look for the master at the same time."""
    connector = connector_for(client_of(sentinels))

    async def open_some() -> None:
        for _ in range(50):
            link = await connector.open_link("test")
            assert await link.call("PING") == b"PONG"
            link.close()

    await asyncio.gather(open_some(), asyncio.to_thread(asyncio.run, open_some()))


@pytest.mark.parametrize("trouble", ["down", "hung"])
async def test_a_sentinel_is_missing(sentinels: Sentinels, trouble: str) -> None:
    """One that is down or hangs is passed over after a second at most."""
    first = sentinels.sentinels[0]
    if trouble == "down":
        first.kill()
    else:
        first.pause()
    async with asyncio.timeout(PATIENCE):
        connector = connector_for(client_of(sentinels))
        for _ in range(5):  # it is waited for once
            (await connector.open_link("test")).close()


async def test_the_master_dies(sentinels: Sentinels) -> None:
    """Client and worker find the new one; nothing has to be started again."""
    await wait_until(sentinels.is_replicating, "the sentinels to know each other")
    async with Queue(client_of(sentinels), enqueue_timeout=PATIENCE) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert await (await same.enqueue(1)) == 1
            sentinels.master.kill()
            assert await (await same.enqueue(2)) == 2


def test_replicas_are_no_place_for_jobs() -> None:
    """A client that leads to replicas is refused, with what to write instead."""
    replicas = Sentinel([("127.0.0.1", 1)]).slave_for(SERVICE)
    with pytest.raises(UsageError, match="master_for"):
        core_of(Queue(replicas)).session()
