"""A worker can return a delivery to its lane."""

from aiostreamq.model.delivery import Delivery, WaiterMode
from tests.support.store import ENVELOPE, Store


async def test_to_another_worker(store: Store) -> None:
    """The job is delivered again at once, under a number of its own; it has cost no attempt."""
    delivery = await store.deliver("a", "w1")
    assert await store.deliveries.requeue([delivery]) == 1
    (again,) = await store.read("w2")
    assert again.stream == store.queue.place_of("default") - 1, "it waits in `returned`"
    assert (again.job_id, again.number, again.envelope) == ("a", 2, ENVELOPE)
    assert again.attempt == 1
    assert await store.settle(again) == []


async def test_where_it_was(store: Store) -> None:
    """Nothing of it is left there, and the job knows its new place."""
    await store.deliveries.requeue([await store.deliver("a")])
    assert await store.pending() == 0
    assert await store.stream_at(store.keys.stream("default")) == []
    assert len(await store.stream_at(store.keys.stream("returned"))) == 1
    assert (await store.hash_at(store.keys.job("a")))["s"] == "returned"
    assert await store.results.job_state("a") == b"queued"


async def test_who_waits_still_waits(store: Store) -> None:
    """The inbox that was noted is told in the end."""
    await store.deliveries.requeue([await store.deliver("a", mark=WaiterMode.CALLER)])
    await store.settle(*(await store.read("w2")))
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


async def test_its_id_is_still_taken(store: Store) -> None:
    """Handing back frees no id."""
    await store.deliveries.requeue([await store.deliver("a")])
    assert await store.enqueue("a") == {0}


async def test_ended_meanwhile(store: Store) -> None:
    """A delivery that has ended is left alone."""
    delivery = await store.deliver("a")
    await store.settle(delivery)
    assert await store.deliveries.requeue([delivery]) == 0
    assert await store.stream_at(store.keys.stream("returned")) == []


async def test_undelivered_entry_stays(store: Store) -> None:
    """An entry that was not delivered stays where it is."""
    await store.enqueue("a")
    fresh = Delivery(store.queue.place_of("default"), b"1-1", "a", 1, b"")
    assert await store.deliveries.requeue([fresh]) == 0
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_repeated(store: Store) -> None:
    """Handing back again after a lost reply makes no second entry."""
    delivery = await store.deliver("a")
    assert await store.deliveries.requeue([delivery]) == 1
    assert await store.deliveries.requeue([delivery]) == 0
    assert len(await store.read("w2")) == 1


async def test_of_several_lanes_in_order(store: Store) -> None:
    """All come back, in the order in which they were handed."""
    await store.enqueue("a", lane="slow")
    await store.enqueue("b", "c")
    deliveries = sorted(await store.read(), key=lambda d: d.job_id)
    assert await store.deliveries.requeue(deliveries) == 3
    assert [d.job_id for d in await store.read("w2")] == ["a", "b", "c"]


async def test_back_and_back_again(store: Store) -> None:
    """What was returned may be returned again."""
    delivery = await store.deliver("a")
    for number in range(2, 5):
        assert await store.deliveries.requeue([delivery]) == 1
        (delivery,) = await store.read(f"w{number}")
    assert delivery.number == 4
    assert await store.settle(delivery) == []


async def test_late_worker_after_handing_back(store: Store) -> None:
    """Who hands a job back and ends it all the same does not end it for the next."""
    delivery = await store.deliver("a")
    await store.deliveries.requeue([delivery])
    assert await store.settle(delivery) == [delivery]
    (again,) = await store.read("w2")
    assert await store.settle(again) == []
