"""Setting jobs aside, and taking them up again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from aiostreamq import JobState, Queue, Task, Worker
from aiostreamq.aio.listeners import Listeners
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.worker.listener_events import WorkerListeners
from aiostreamq.worker.reroute.parking import Parking
from tests.support.store import Store
from tests.support.waiting import wait_until


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty queue."""
    async with Store(store_url) as store:
        yield store


async def test_resumed_while_it_is_on_its_way(store: Store) -> None:
    """What arrives there after all was let go is let go at once, too."""
    paused = {"size"}
    listeners = WorkerListeners(Listeners(), "any", "any")
    parking = Parking(
        ParkedJobs(store.queue), {"size"}, paused.__contains__, lambda: None, listeners
    )
    held = await store.deliver("a")
    running = asyncio.create_task(parking.run())
    try:
        paused.clear()  # resumed: all that is parked goes on
        parking.wake()
        await store.results.job_state("a")
        parking.park(held, "size")  # which it was to be since before that

        async def is_back() -> bool:
            return bool(await store.stream_at(store.keys.stream("returned")))

        await wait_until(is_back, "it to be let go")
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_fleet_with_different_tasks(store_url: str) -> None:
    """Jobs that reach a worker without their task are run at once by one that has it."""
    queues = [Queue(store_url) for _ in range(3)]
    tasks: list[Task[[int], int]] = []
    for place, queue in enumerate(queues):

        async def work(number: int) -> int:
            return number

        tasks.append(queue.task(name=f"task{place}")(work))
    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(queue)
            await stack.enter_async_context(Worker(queue, concurrency=2))
        jobs = [await tasks[number % 3].enqueue(number) for number in range(60)]
        found = await asyncio.gather(*jobs)
        assert found == list(range(60))


async def test_message_missed(store_url: str) -> None:
    """A worker that starts later finds what was parked before."""
    old, new = Queue(store_url), Queue(store_url)

    @new.task(name="added")
    async def added() -> str:
        return "ran"

    async with old, new, Worker(old):
        job = await added.enqueue()

        async def is_parked() -> bool:
            return await job.status() is JobState.PARKED

        await wait_until(is_parked, "the job to be parked")
        async with Worker(new):
            assert await job == "ran"
