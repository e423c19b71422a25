"""Setting jobs aside, and taking them up again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from aiostreamq import JobState, Queue, QueueUnavailable, Task, Worker
from aiostreamq.aio.listeners import Listeners
from aiostreamq.model.keys import GROUP
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


async def nothing() -> None:
    """No job is held."""


async def test_resumed_while_it_is_on_its_way(store: Store) -> None:
    """What is parked after its task was resumed is looked for at once, too."""
    paused, found = {"size"}, list[str]()
    listeners = WorkerListeners(Listeners(), "any", "any")
    parking = Parking(
        ParkedJobs(store.queue),
        {"size"},
        paused.__contains__,
        lambda: None,
        found.extend,
        nothing,
        listeners,
    )
    held = await store.deliver("a")
    running = asyncio.create_task(parking.run())
    try:
        paused.clear()  # resumed: all that is parked goes on
        parking.wake()
        await store.results.job_state("a")
        parking.park(held, "size")  # which it was to be since before that
        await wait_until(lambda: "size" in found, "the look to find it")
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


async def test_worker_without_the_task_is_not_sent_it_again(store: Store, store_url: str) -> None:
    """A look gives parked jobs to the worker that looks: no other one reads them in between."""
    queue = Queue(store_url, name=store.keys.queue)

    @queue.task(name="added")
    async def added() -> str:
        return "ran"

    async with queue:
        job = await added.enqueue()
        (held,) = await store.read()
        await ParkedJobs(store.queue).park([(held, "added")])
        # A worker of another release, without the task, waits for returned jobs.
        link = await store.connector.open_link("other")
        returned = store.keys.stream("returned")
        reading = link.call(
            *("XREADGROUP", "GROUP", GROUP, "other", "BLOCK", 0, "STREAMS", returned, ">")
        )
        async with Worker(queue):
            assert await job == "ran"
        assert not reading.done() or reading.result() is None  # in memory it does not wait
        link.close()
        with suppress(QueueUnavailable):
            await reading


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
