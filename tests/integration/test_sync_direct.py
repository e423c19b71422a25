"""The connection on which threads enqueue single jobs themselves, without the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from aiostreamq import Context, Queue, QueueUnavailable, Worker
from aiostreamq.telemetry import JobEnqueued
from tests.integration.test_tls import authority, tls_port
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

__all__ = ["authority", "tls_port"]  # fixtures


@pytest.fixture
def admin(own_redis_server: RedisServer) -> Iterator[Redis]:
    """A client of the server of this test."""
    with Redis.from_url(own_redis_server.url, decode_responses=True) as admin:
        yield admin


async def same(n: int) -> int:
    """Return the argument."""
    return n


def direct_links(admin: Redis) -> list[str]:
    """The ids of the connections of threads."""
    found: list[dict[str, str]] = admin.client_list()
    return [one["id"] for one in found if one["name"] == "aiostreamq:sync"]


async def use_until_direct(queue: Queue, admin: Redis) -> set[str]:
    """Enqueue until threads have a connection; return the ids of the jobs."""
    ids: set[str] = set()

    async def is_direct() -> bool:
        ids.add((await asyncio.to_thread(queue.sync.enqueue, "same", 1)).id)
        return bool(direct_links(admin))

    await wait_until(is_direct, "a connection of its own")
    return ids


def enqueued(queue: Queue, times: int) -> set[str]:
    """Enqueue jobs, each of which must be new; return their ids."""
    jobs = [queue.sync.enqueue("same", n) for n in range(times)]
    assert all(job.is_new for job in jobs)
    return {job.id for job in jobs}


async def ids_in(queue: Queue) -> list[str]:
    """The ids of all jobs that wait, as often as they are there."""
    found: list[str] = await asyncio.to_thread(lambda: asyncio.run(listed(queue)))
    return found


async def listed(queue: Queue) -> list[str]:
    """List them in a loop of its own."""
    return [job.id async for job in queue.jobs(state="queued")]


#: Faults while the connection is idle.
FAULTS: dict[str, Callable[[Redis], object]] = {
    "nothing": lambda admin: admin.ping(),
    "killed": lambda admin: [admin.client_kill_filter(_id=one) for one in direct_links(admin)],
    "scripts are gone": lambda admin: admin.script_flush(),
    "all is gone": lambda admin: admin.flushall(),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_job_is_there_once(
    own_redis_server: RedisServer, admin: Redis, fault: str
) -> None:
    """After a fault between two enqueues, neither job is lost or there twice."""
    queue = Queue(own_redis_server.url)
    ids = await use_until_direct(queue, admin)
    for _ in range(3):
        FAULTS[fault](admin)
        if fault == "all is gone":
            ids.clear()
        ids |= await asyncio.to_thread(enqueued, queue, 2)
    assert sorted(await ids_in(queue)) == sorted(ids)
    await asyncio.to_thread(queue.sync.close)
    await wait_until(lambda: not direct_links(admin), "the connection to be closed")


async def test_lost_reply(own_redis_server: RedisServer, admin: Redis) -> None:
    """A job whose reply is lost is enqueued again with its id, and is new all the same."""
    async with Proxy(own_redis_server.port) as proxy:
        queue = Queue(proxy.url, enqueue_timeout=PATIENCE)
        ids = await use_until_direct(queue, admin)
        proxy.drop_replies(1, to=b"EVALSHA")
        ids |= await asyncio.to_thread(enqueued, queue, 3)
        assert sorted(await ids_in(queue)) == sorted(ids)
        await asyncio.to_thread(queue.sync.close)


async def test_redis_does_not_answer(own_redis_server: RedisServer, admin: Redis) -> None:
    """The call fails in time, and the next one works when Redis does."""
    queue = Queue(own_redis_server.url, enqueue_timeout=1)
    ids = await use_until_direct(queue, admin)
    own_redis_server.pause()
    with pytest.raises(QueueUnavailable):
        await asyncio.to_thread(queue.sync.enqueue, "same", 1)
    own_redis_server.resume()
    ids |= await asyncio.to_thread(enqueued, queue, 2)
    assert ids <= set(await ids_in(queue))
    await asyncio.to_thread(queue.sync.close)


async def headers_of(context: Context) -> dict[str, str]:
    """Return the headers of the job."""
    return dict(context.headers)


async def test_results_and_events(own_redis_server: RedisServer, admin: Redis) -> None:
    """Jobs that went this way are run, awaited, and reported to listeners like all others."""
    queue = Queue(own_redis_server.url)
    task = queue.task(same)
    events: list[object] = []
    queue.on_event(events.append)

    def use() -> list[int]:
        return [queue.sync.enqueue(task, n).result(timeout=PATIENCE) for n in range(20)]

    async with queue, Worker(queue):
        ids = await use_until_direct(queue, admin)
        assert await asyncio.to_thread(use) == list(range(20))
        traced = queue.task(headers_of).using(headers={"trace": "a"})
        ids.add((sent := await asyncio.to_thread(queue.sync.enqueue, traced)).id)
        assert await asyncio.to_thread(sent.result) == {"trace": "a"}
        quiet = await asyncio.to_thread(queue.sync.enqueue, task.using(result_ttl=0), 1)
        ids.add(quiet.id)

        def reported() -> list[str]:
            return [event.job_id for event in events if isinstance(event, JobEnqueued)]

        await wait_until(lambda: len(reported()) == len(ids) + 20, "the events")
        assert ids <= set(reported())
    await asyncio.to_thread(queue.sync.close)


@pytest.mark.parametrize("options", [{"max_length": 100}, {"max_bytes": 10_000}])
async def test_queues_that_need_more(
    own_redis_server: RedisServer, admin: Redis, options: dict[str, Any]
) -> None:
    """Queues with bounds never have such a connection."""
    queue = Queue(own_redis_server.url, **options)
    assert len(await asyncio.to_thread(enqueued, queue, 5)) == 5
    assert direct_links(admin) == []
    await asyncio.to_thread(queue.sync.close)


async def test_tls(tls_port: int, authority: object) -> None:
    """An encrypted connection stays in its event loop."""
    queue = Queue(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={authority}")
    ids = await asyncio.to_thread(enqueued, queue, 20)
    assert set(await ids_in(queue)) == ids
    await asyncio.to_thread(queue.sync.close)
