"""A burst worker that has nothing left to do: whom it waits for, and for how long."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aiostreamq import Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.connection.link import Link
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.workers import WorkerRegistry
from tests.support.waiting import PATIENCE, wait_until

LEASE = 1.0
LEASE_MS = 1_000
LONG_LEASE_MS = 3_600_000


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue with two lanes, and a task in each."""
    async with Queue(store_url, lanes={"default": 1, "other": 1}) as queue:

        @queue.task(name="same")
        async def same(n: int) -> int:
            return n

        @queue.task(name="elsewhere", lane="other")
        async def elsewhere(n: int) -> int:
            return n

        yield queue


@pytest.fixture
async def link(queue: Queue) -> AsyncIterator[Link]:
    """A connection on which other workers read."""
    link = await core_of(queue).session().store.connector.open_link("test")
    yield link
    link.close()


def registry_of(queue: Queue) -> WorkerRegistry:
    """Return the workers of the queue."""
    return WorkerRegistry(core_of(queue).session().store)


async def hold(
    queue: Queue, link: Link, name: str, count: int = 1, lease_ms: int = LEASE_MS
) -> None:
    """Have a worker join, read what waits, and show no further sign of life."""
    await registry_of(queue).join(name, lease_ms, ["default", "other"])
    read = await Deliveries(core_of(queue).session().store).read(link, name, count, None)
    assert len(read.deliveries) == count


async def run_burst(queue: Queue, *lanes: str, lease: float = LEASE) -> float:
    """Run a burst worker to its end; return the seconds that it took.

    With a long lease, one that waits for another worker does not end in time.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(PATIENCE):
        await Worker(queue, lanes=lanes or None, lease=lease).run(burst=True)
    return loop.time() - began


async def test_jobs_of_a_dead_worker_are_run(queue: Queue, link: Link) -> None:
    """No other worker may be there to recover them."""
    jobs = [await queue.enqueue("same", n) for n in range(10)]
    await hold(queue, link, "dead", 10)
    await run_burst(queue)
    assert [await job.result(timeout=PATIENCE) for job in jobs] == list(range(10))


async def test_each_death_is_waited_for(queue: Queue, link: Link) -> None:
    """After the jobs of one dead worker have run, those of the next are waited for."""
    first, second = await queue.enqueue("same", 1), await queue.enqueue("same", 2)
    await hold(queue, link, "dead1")
    await hold(queue, link, "dead2", lease_ms=int(1.7 * LEASE_MS))
    await run_burst(queue)
    assert await first.result(timeout=PATIENCE) == 1
    assert await second.result(timeout=PATIENCE) == 2


async def test_living_worker_is_not_waited_for(queue: Queue, link: Link) -> None:
    """Its jobs are its own, however long they run; a beat shows that it lives."""
    await queue.enqueue("same", 1)
    await hold(queue, link, "alive")
    registry = registry_of(queue)
    bursting = asyncio.ensure_future(run_burst(queue, lease=3600))
    while not bursting.done():
        assert await registry.renew("alive", LEASE_MS)
        await asyncio.wait([bursting], timeout=LEASE / 4)
    await bursting
    assert "alive" in await registry.holders("me", ["default"])


async def test_wait_has_an_end(queue: Queue, link: Link) -> None:
    """A silent worker is waited for a lease of the burst worker and a second, whatever its own."""
    await queue.enqueue("same", 1)
    await hold(queue, link, "patient", lease_ms=LONG_LEASE_MS)
    assert await run_burst(queue) >= LEASE + 1.0


async def test_other_lanes_are_not_waited_for(queue: Queue, link: Link) -> None:
    """Deliveries of lanes that a burst worker does not serve are not its affair."""
    await queue.enqueue("elsewhere", 1)
    await hold(queue, link, "silent", lease_ms=LONG_LEASE_MS)
    await run_burst(queue, "default", lease=3600)


async def test_what_is_due_later_is_not_waited_for(queue: Queue) -> None:
    """Delayed jobs and schedules are for workers that stay."""
    await queue.named("same").using(delay="1h").enqueue(1)
    await queue.schedules.create("hourly", "same", args=(1,), every="1h")
    await run_burst(queue, lease=3600)
    assert (await queue.info()).delayed == 1


async def test_waiting_burst_can_be_stopped(queue: Queue, link: Link) -> None:
    """It ends at once, and does not wait for the lease."""
    await queue.enqueue("same", 1)
    await hold(queue, link, "patient", lease_ms=LONG_LEASE_MS)
    worker = Worker(queue, lease=LONG_LEASE_MS / 1000)
    running = asyncio.ensure_future(worker.run(burst=True))
    await wait_until(lambda: worker.is_ready, "the worker to be ready")
    worker.stop()
    async with asyncio.timeout(PATIENCE):
        await running
