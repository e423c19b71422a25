"""`enqueue_many` that is interrupted says how many calls are in for certain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from aiostreamq import Call, Queue, QueueUnavailable
from aiostreamq.client.core import core_of
from aiostreamq.store.enqueue import ENQUEUE_LIMIT
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


async def same(n: int) -> int:
    """Return the argument."""
    return n


async def close(queue: Queue, server: RedisServer) -> None:
    """Close the queue."""
    del server
    await queue.aclose()


async def stop_redis(queue: Queue, server: RedisServer) -> None:
    """Have Redis answer nothing any more."""
    del queue
    server.pause()


@pytest.mark.parametrize("interrupt", [close, stop_redis])
async def test_interrupted_midway(
    own_redis_server: RedisServer, interrupt: Callable[[Queue, RedisServer], Awaitable[None]]
) -> None:
    """The error has a public class, and the number of calls in the chunks before."""
    queue = Queue(own_redis_server.url, enqueue_timeout=0.2)
    task = queue.task(same)
    await queue.open()
    store = core_of(queue).session().store

    async def is_in() -> bool:
        length = await store.call("XLEN", store.keys.stream("default"))
        return length == ENQUEUE_LIMIT

    async def calls() -> AsyncIterator[Call[int]]:
        for n in range(ENQUEUE_LIMIT):
            yield task.bind(n)
        # The first chunk is sent when the next call is asked for.
        yield task.bind(-1)
        await wait_until(is_in, "the first chunk to be in")
        await interrupt(queue, own_redis_server)
        for n in range(10):
            yield task.bind(n)

    try:
        with pytest.raises(QueueUnavailable, match="500 calls, from the first, went in") as raised:
            await queue.enqueue_many(calls())
        assert type(raised.value) is QueueUnavailable
        assert raised.value.enqueued == ENQUEUE_LIMIT
    finally:
        with suppress(ProcessLookupError):
            own_redis_server.resume()
        await queue.aclose()


async def test_closed_while_it_waits_for_room(store_url: str) -> None:
    """The calls that found room are counted, and no others."""
    queue = Queue(store_url, max_length=3, when_full="wait")
    task = queue.task(same)
    async with Queue(store_url) as looking:
        store = core_of(looking).session().store
        await queue.open()
        calling = asyncio.ensure_future(queue.enqueue_many(task.bind(n) for n in range(10)))

        async def is_full() -> bool:
            return await store.call("XLEN", store.keys.stream("default")) == 3

        await wait_until(is_full, "the lane to be full")
        await queue.aclose()
        with pytest.raises(QueueUnavailable, match="3 calls, from the first, went in") as raised:
            await calling
        assert raised.value.enqueued == 3
