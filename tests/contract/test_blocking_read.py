"""Reads that wait at the server over a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aiostreamq.errors import QueueUnavailable
from aiostreamq.store.connection.blocking_read import BlockingRead
from aiostreamq.store.connection.link import Link, Reply
from tests.support.store import Store
from tests.support.waiting import PATIENCE, wait_until

LONG = 3600


class Reading:
    """Reads one list, for ever if nothing comes."""

    def __init__(self, store: Store) -> None:
        self.replaced = 0
        self.links: list[Link] = []
        self.has_begun = asyncio.Event()
        self.blocking = BlockingRead(
            store.connector, "test", LONG, replaced=self._note, unblock=store.queue.unblock
        )

    def _note(self) -> None:
        self.replaced += 1

    async def pop(self) -> Reply:
        """Wait for an item."""
        return await self.blocking.persist(self._pop)

    async def _pop(self, link: Link) -> Reply:
        self.links.append(link)
        self.has_begun.set()
        return await self.blocking.wait(link.call("BLPOP", "list", LONG))


@pytest.fixture
async def reading(store: Store) -> AsyncGenerator[Reading]:
    """A list that is read."""
    reading = Reading(store)
    yield reading
    reading.blocking.close()
    await reading.blocking.join()


async def test_brings_what_comes(store: Store, reading: Reading) -> None:
    """One read after the other, over the same connection."""
    for item in (b"1", b"2"):
        popping = asyncio.create_task(reading.pop())
        await store.call("RPUSH", "list", item)
        async with asyncio.timeout(PATIENCE):
            assert await popping == [b"list", item]
    assert reading.links[0] is reading.links[1]
    assert reading.replaced == 0


async def test_interrupted(store: Store, reading: Reading) -> None:
    """The read that waits ends with nothing; the next one waits again."""
    for _ in range(3):
        reading.has_begun.clear()
        popping = asyncio.create_task(reading.pop())
        await reading.has_begun.wait()
        reading.blocking.interrupt()
        async with asyncio.timeout(PATIENCE):
            assert await popping is None
    popping = asyncio.create_task(reading.pop())
    await store.call("RPUSH", "list", "item")
    async with asyncio.timeout(PATIENCE):
        assert await popping == [b"list", b"item"]


async def test_interrupted_while_nothing_waits(store: Store, reading: Reading) -> None:
    """The next read is not ended by it."""
    reading.blocking.interrupt()
    popping = asyncio.create_task(reading.pop())
    await reading.has_begun.wait()
    await asyncio.wait([popping], timeout=0.05)
    assert not popping.done()
    await store.call("RPUSH", "list", "item")
    async with asyncio.timeout(PATIENCE):
        assert await popping == [b"list", b"item"]


async def test_finished(store: Store, reading: Reading) -> None:
    """The read that waits has returned by then, with what Redis had sent or with nothing."""
    for item in (None, b"item"):
        reading.has_begun.clear()
        popping = asyncio.create_task(reading.pop())
        await reading.has_begun.wait()
        if item is not None:
            await store.call("RPUSH", "list", item)
        async with asyncio.timeout(PATIENCE):
            await reading.blocking.finish(LONG)
        assert popping.done()
        assert popping.result() == (item and [b"list", item])


async def test_finished_while_nothing_waits(reading: Reading) -> None:
    """There is nothing to wait for."""
    async with asyncio.timeout(PATIENCE):
        await reading.blocking.finish(LONG)


async def test_connection_lost(store: Store, reading: Reading) -> None:
    """The read is sent again over another connection, and its owner is called before."""
    popping = asyncio.create_task(reading.pop())
    await reading.has_begun.wait()
    reading.links[0].close()
    await wait_until(lambda: len(reading.links) == 2, "the next connection")
    assert reading.replaced == 1
    await store.call("RPUSH", "list", "item")
    async with asyncio.timeout(PATIENCE):
        assert await popping == [b"list", b"item"]


async def test_closed(reading: Reading) -> None:
    """A read that waits ends at once, and none can begin."""
    popping = asyncio.create_task(reading.pop())
    await reading.has_begun.wait()
    reading.blocking.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(QueueUnavailable):
            await popping
        with pytest.raises(QueueUnavailable):
            await reading.pop()
