"""Scripts that read payloads of a megabyte behind small ones: Redis copies a few at once."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from aiostreamq.model.keys import GROUP
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from aiostreamq.store.inspect.snapshot import Snapshots
from tests.support.redis_server import RedisServer
from tests.support.store import Store

MEGABYTE = 1_000_000
LONG = b"x" * MEGABYTE

#: Steps that double reach 64 behind these.
SMALL = 63
LARGE = 40

#: A step has eight payloads at most.
MOST_COPIED = 12 * MEGABYTE

Step = Callable[[Store], Awaitable[None]]


@pytest.fixture
async def own_store() -> AsyncIterator[Store]:
    """An empty queue on a server of its own: the peak of its memory is never reset."""
    with RedisServer() as server:
        async with Store(server.url) as store:
            yield store


async def memory_of(store: Store, field: str) -> int:
    """Return a field of INFO memory."""
    memory = cast("bytes", await store.call("INFO", "memory")).decode()
    found = re.search(rf"^{field}:(\d+)", memory, re.MULTILINE)
    assert found is not None
    return int(found[1])


def all_ids() -> list[str]:
    """Return the ids of the jobs, in their order."""
    return [f"{number:04}" for number in range(SMALL + LARGE)]


async def cancel(store: Store) -> None:
    """Cancel the jobs by their ids."""
    answers = await Cancellation(store.queue).cancel(all_ids())
    assert answers == [b"queued"] * (SMALL + LARGE)


async def cancel_lane(store: Store) -> None:
    """Cancel the jobs of the lane."""
    wanted, first, done = LaneFilter(["queued"], None, None), "-", 0
    while first:
        part = await Cancellation(store.queue).cancel_part(
            store.keys.stream(DEFAULT_LANE), first, "+", wanted
        )
        first, done = part.last and f"({part.last}", done + part.queued
    assert done == SMALL + LARGE


async def skip_cancelled(store: Store) -> None:
    """Cancel the jobs, and drop their entries."""
    await cancel_lane(store)
    keys, arguments = (
        [store.keys.cancelled, store.keys.stream(DEFAULT_LANE)],
        [GROUP, "w1", store.keys.prefix, 400],
    )
    has_more, done = 1, 0
    while has_more:
        reply = await store.queue.run("skip_cancelled", keys, arguments)
        dropped, has_more = cast("list[int]", reply)
        done += dropped
    assert done == SMALL + LARGE


async def queue_snapshot(store: Store) -> None:
    """Sample the tasks of the jobs."""
    view = await Snapshots(store.queue).view()
    assert sum(lane.waiting for lane in view.lanes) == SMALL + LARGE


@pytest.mark.parametrize("step", [cancel, cancel_lane, skip_cancelled, queue_snapshot])
async def test_scripts(own_store: Store, step: Step) -> None:
    """Each reads a few payloads in one step, and ends its call behind a megabyte."""
    store = own_store
    await store.enqueue(*all_ids()[:SMALL])
    for job_id in all_ids()[SMALL:]:
        await store.enqueue(job_id, envelope=b'{"v":1,"task":"t","args":["%b"]}' % LONG)
    assert await memory_of(store, "used_memory") > LARGE * MEGABYTE
    before = await memory_of(store, "used_memory_peak")
    await step(store)
    assert await memory_of(store, "used_memory_peak") - before < MOST_COPIED
