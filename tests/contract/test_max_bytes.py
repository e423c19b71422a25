"""Lanes that are bounded in bytes: the jobs that are still there count, and no others."""

from itertools import count

import pytest

from aiostreamq.model.delivery import Submission, WaiterMode
from aiostreamq.store.enqueue import Refusals
from tests.support.store import DEADLINE, Store

MOST = 10_000

#: For the ids of jobs.
numbers = count()


async def put(store: Store, *sizes: int, most: int = MOST, length: int = 0) -> Refusals:
    """Enqueue jobs of some sizes into one lane."""
    place = store.queue.place_of("default")
    jobs: list[Submission] = [
        (f"j{next(numbers)}", place, WaiterMode.NOBODY, b'{"task":"t"}'.ljust(size))
        for size in sizes
    ]
    return await store.submissions.enqueue_within(length, jobs, "me", DEADLINE, most)


@pytest.mark.parametrize(
    ("sizes", "full"),
    [
        ([1_000] * 10, set[int]()),
        ([1_000] * 12, {10, 11}),
        ([9_000, 2_000, 1_000], {1}),
        ([50_000, 20], {1}),
        ([20, 50_000, 20], {1}),
        ([6_000, 6_000, 4_000], {1}),
    ],
)
async def test_full(store: Store, sizes: list[int], full: set[int]) -> None:
    """A job that does not fit is refused, a smaller one behind it may fit, and one always goes."""
    assert (await put(store, *sizes)).full == full
    assert len(await store.stream_at(store.keys.stream("default"))) == len(sizes) - len(full)


async def test_beside_a_length(store: Store) -> None:
    """Either bound refuses."""
    assert (await put(store, *[10] * 4, length=3)).full == {3}
    assert (await put(store, 20_000, length=10)).full == {0}


async def test_lanes_apart(store: Store) -> None:
    """Each lane has its own bytes."""
    await put(store, 9_000)
    slow: list[Submission] = [
        ("slow", store.queue.place_of("slow"), WaiterMode.NOBODY, b"x" * 9_000)
    ]
    assert not (await store.submissions.enqueue_within(0, slow, "me", DEADLINE, MOST)).full


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("size", [50, 100, 900, 4_000])
async def test_room_comes_back(store: Store, size: int) -> None:
    """As jobs end, as many others find room, round after round, and bytes are never exceeded."""
    fit = MOST // size
    assert len((await put(store, *[size] * (fit + 3))).full) == 3
    for _ in range(5):
        for delivery in await store.read(count=fit):
            await store.settle(delivery)
        refused = len((await put(store, *[size] * (fit + 3))).full)
        assert 3 <= refused <= 3 + fit // 50


async def test_running_jobs_count(store: Store) -> None:
    """What is delivered and not settled is still there; its neighbours in a block are let go."""
    await put(store, *[1_000] * 10)
    deliveries = await store.read(count=10)
    assert (await put(store, 1_000)).full == {0}
    await store.settle(*deliveries[1:])
    refused = (await put(store, *[1_000] * 10)).full
    assert refused == {9}


async def test_a_repeated_call(store: Store) -> None:
    """A call that is sent again after a lost reply counts its jobs once."""
    place = store.queue.place_of("default")
    jobs: list[Submission] = [(f"a{n}", place, WaiterMode.NOBODY, b"x" * 2_000) for n in range(5)]
    for taken in (set[int](), set(range(5))):
        found = await store.submissions.enqueue_within(0, jobs, "me", DEADLINE, MOST)
        assert (found.taken, found.full) == (taken, set())
    assert (await put(store, 1_000)).full == {0}


async def test_lanes_without_the_limit(store: Store) -> None:
    """They keep no bytes."""
    await store.enqueue("a", "b")
    assert not await store.hash_at(f"{store.keys.prefix}bytes:default")
