"""The clock of Redis is stepped, or another Redis has another: what producers know of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from aiostreamq import Job, Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.connection import clock
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

#: Seconds in which the jobs here have to be started, and more than those.
SOON, STEP = 30, 120

Enqueue = Callable[[Queue], Awaitable[Job[object]]]


async def with_expiry(queue: Queue) -> Job[object]:
    """Enqueue a job that must be started soon."""
    return await queue.named("one").using(expires=SOON).enqueue()


async def with_deadline(queue: Queue) -> Job[object]:
    """Enqueue a job that must have ended soon."""
    return await queue.named("one").using(deadline=SOON).enqueue()


async def in_bulk(queue: Queue) -> Job[object]:
    """Enqueue it behind a plain one."""
    one = queue.named("one")
    return (await queue.enqueue_many([one.bind(), one.using(expires=SOON).bind()]))[1]


def step(queue: Queue) -> None:
    """Let it be as if Redis's clock had been put forward since it told this producer the time."""
    known = core_of(queue).session().store.clock
    known.set(known.now_ms() - STEP * 1000)


async def times_asked(client: Redis) -> int:
    """How often Redis was asked for the time."""
    told = await client.info("commandstats")
    return int(told.get("cmdstat_time", {"calls": 0})["calls"])


@pytest.fixture
async def worker(store_url: str) -> AsyncIterator[Worker]:
    """A worker, with connections of its own."""
    async with Queue(store_url) as queue:

        @queue.task
        async def one() -> int:
            return 1

        async with Worker(queue) as worker:
            yield worker


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("enqueue", [with_expiry, with_deadline, in_bulk])
async def test_stepped_while_producer_was_idle(
    queue: Queue, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told some time ago is not taken for the time: jobs have the time that was said."""
    step(queue)
    monkeypatch.setattr(clock, "GOOD_MS", 0)
    assert await (await enqueue(queue)).result(timeout=PATIENCE) == 1


@pytest.mark.usefixtures("worker")
async def test_first_job_of_a_machine_that_is_late(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is Redis's from the first job on, also where nobody called `open`."""
    late = time.time() - STEP
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: late)
        queue = Queue(store_url)
        core_of(queue).session()
    job = await with_expiry(queue)
    assert await job.result(timeout=PATIENCE) == 1
    await queue.aclose()


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.usefixtures("worker")
async def test_connection_is_another(proxy: Proxy, *, is_used: bool) -> None:
    """It may lead to another machine, so its clock may be another, whoever used it first."""
    async with Queue(proxy.url) as queue:
        step(queue)
        proxy.cut()
        known = core_of(queue).session().store.clock
        await wait_until(lambda: not known.is_good, "the producer to notice")
        if is_used:
            await queue.enqueue("one")
        assert await (await with_expiry(queue)).result(timeout=PATIENCE) == 1


async def test_asked_only_where_it_matters(
    redis_url: str, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while what was told is good, and never for plain jobs."""
    async with Queue(redis_url) as queue:
        before = await times_asked(client)
        await with_expiry(queue)
        await in_bulk(queue)
        monkeypatch.setattr(clock, "GOOD_MS", 0)
        await queue.enqueue("one")
        await queue.enqueue_many([queue.named("one").bind()])
        assert await times_asked(client) == before


async def test_asked_once_for_all_of_a_moment(proxy: Proxy, client: Redis) -> None:
    """However many jobs are enqueued when the time is not known any more."""
    async with Queue(proxy.url) as queue:
        before = await times_asked(client)
        proxy.cut()
        known = core_of(queue).session().store.clock
        await wait_until(lambda: not known.is_good, "the producer to notice")
        await asyncio.gather(*(with_expiry(queue) for _ in range(100)))
        assert await times_asked(client) == before + 1
