"""enqueue.lua with a bound: as much as there is room for, and never more."""

import asyncio

from aiostreamq.model.delivery import Submission, WaiterMode
from tests.support.store import DEADLINE, ENVELOPE, Store


async def put(
    store: Store, most: int, *ids: str, lane: str = "default"
) -> tuple[set[int], set[int]]:
    """Enqueue a job for each id, up to *most*; returns whose ids are taken, whose lanes full."""
    place = store.queue.place_of(lane)
    jobs: list[Submission] = [(job_id, place, WaiterMode.NOBODY, ENVELOPE) for job_id in ids]
    refusals = await store.submissions.enqueue_within(most, jobs, "me", DEADLINE)
    return refusals.taken, refusals.full


async def test_there_is_room_for_some(store: Store) -> None:
    """The first go in; the others leave nothing behind."""
    assert await put(store, 3, "a", "b", "c", "d", "e") == (set(), {3, 4})
    assert [d.job_id for d in await store.read()] == ["a", "b", "c"]
    assert "job:d" not in await store.key_names()


async def test_what_runs_counts(store: Store) -> None:
    """A job is in its lane until it has ended."""
    assert await put(store, 1, "a") == (set(), set())
    (delivery,) = await store.read()
    assert await put(store, 1, "b") == (set(), {0})
    await store.settle(delivery)
    assert await put(store, 1, "b") == (set(), set())


async def test_id_that_is_taken(store: Store) -> None:
    """It needs no room, so that a call can be repeated on a full lane."""
    await put(store, 2, "a", "b")
    assert await put(store, 2, "a", "c", "b") == ({0, 2}, {1})


async def test_each_lane_for_itself(store: Store) -> None:
    """A full lane does not keep jobs from another."""
    default, slow = store.queue.place_of("default"), store.queue.place_of("slow")
    jobs = [
        (f"j{number}", place, WaiterMode.NOBODY, ENVELOPE)
        for number, place in enumerate([default, default, slow, slow, default])
    ]
    refusals = await store.submissions.enqueue_within(1, jobs, "me", DEADLINE)
    assert (refusals.taken, refusals.full) == (set(), {1, 3, 4})


async def test_lane_that_holds_more_already(store: Store) -> None:
    """What is there stays, whoever put it in."""
    await store.enqueue("a", "b", "c")
    assert await put(store, 2, "d") == (set(), {0})
    assert len(await store.read()) == 3


async def test_many_at_once(store: Store) -> None:
    """Together they never pass the bound."""
    calls = [put(store, 10, *(f"{who}-{n}" for n in range(4))) for who in range(8)]
    refused = sum(len(full) for _, full in await asyncio.gather(*calls))
    assert refused == 8 * 4 - 10
    assert len(await store.read()) == 10


async def test_returned_work_is_not_refused(store: Store) -> None:
    """What was handed back is no new job, and leaves its place to one."""
    await put(store, 1, "a")
    (delivery,) = await store.read()
    assert await store.deliveries.requeue([delivery]) == 1
    assert await put(store, 1, "b") == (set(), set())
    assert {d.job_id for d in await store.read()} == {"a", "b"}
