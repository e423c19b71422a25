"""Setting jobs aside, and taking them up again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aiostreamq.aio.listeners import Listeners
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.worker.reroute.parking import Parking
from aiostreamq.worker.telemetry import WorkerListeners
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
