"""Parked jobs: the message about them, and their delivery to the worker that releases them."""

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.reads import Read
from tests.support.store import Store


async def park(store: Store, *ids: str, task: str = "t") -> list[Delivery]:
    """Enqueue jobs, have a worker read them, and park them."""
    await store.enqueue(*ids)
    read = await store.read("other")
    assert await store.parking.park([(one, task) for one in read]) == len(ids)
    return read


async def release(store: Store, count: int = 10, *tasks: str) -> Read:
    """Release jobs to a worker."""
    return await store.parking.release(store.link, "w1", count, tasks or ("t",))


def ids_of(read: Read) -> list[str]:
    """The jobs of a read, in its order."""
    return [one.job_id for one in read.deliveries]


async def test_workers_get_a_message(store: Store) -> None:
    """It names each task once, and only what was parked."""
    end = await ControlStream(store.queue).end()
    await store.enqueue(*"abcd")
    a, b, c, d = await store.read()
    await store.settle(d)
    await store.parking.park([(a, "t"), (b, "u"), (c, "t"), (d, "ended")])
    _, messages = await ControlStream(store.queue).listen(store.link, end, 1000)
    assert messages == [{"say": "parked", "tasks": "t u"}]
    assert await store.parking.park([(a, "t")]) == 0, "as after a lost reply"
    assert len(await store.stream_at(store.keys.control)) == 1


async def test_released_to_the_worker_that_asks(store: Store) -> None:
    """Its jobs are its deliveries at once: no other worker can be sent them."""
    await park(store, "a", "b")
    await park(store, "c", task="u")
    read = await release(store)
    assert ids_of(read) == ["a", "b"]
    assert [one.number for one in read.deliveries] == [1, 1]
    assert await store.read("other") == []
    assert [await store.results.job_state(one) for one in "abc"] == [
        b"running",
        b"running",
        b"parked",
    ]
    assert await store.settle(*read.deliveries) == []
    assert ids_of(await release(store, 10, "t", "u")) == ["c"]


async def test_lost_reply(store: Store) -> None:
    """Repeated, it delivers nothing again; its worker finds what it was sent by its own look."""
    await park(store, "a")
    await release(store)
    assert await release(store) == Read(paused={})
    own = await store.deliveries.read_own(store.link, "w1", 10)
    assert ids_of(own) == ["a"]


async def test_nothing_parked(store: Store) -> None:
    """Then returned work is not touched."""
    await store.enqueue("a")
    await store.deliveries.requeue(await store.read("other"))
    assert (await release(store)).deliveries == []
    assert [one.job_id for one in await store.read("other")] == ["a"]


@pytest.mark.parametrize("count", [1, 3, 1000])
async def test_no_more_than_there_is_room_for(store: Store, count: int) -> None:
    """The rest stays parked, for the next call or another worker."""
    ids = [f"j{number}" for number in range(7)]
    await park(store, *ids)
    found: list[str] = []
    for _ in range(0, 7, count):
        read = await release(store, count)
        assert len(read.deliveries) == min(count, 7 - len(found))
        found += ids_of(read)
    assert found == ids


async def test_older_returned_work_goes_first(store: Store) -> None:
    """It has waited longer. A job that finds no room behind it stays with the returned work."""
    await park(store, "a", "b")
    await store.enqueue("old")
    await store.deliveries.requeue(await store.read("other"))
    assert ids_of(await release(store, 2)) == ["old", "a"]
    assert [one.job_id for one in await store.read("other")] == ["b"]


async def test_cancelled_and_paused(store: Store) -> None:
    """Jobs that must not run are known as with any read."""
    await park(store, "a", "b")
    await Cancellation(store.queue).cancel(["a"])
    await PauseStore(store.queue).pause(["task:t"], "0")
    read = await release(store)
    assert ids_of(read) == ["b"]
    assert read.paused == {"task:t": 0}
