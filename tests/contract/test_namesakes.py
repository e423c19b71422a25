"""An entry that a stranger wrote under the id of a job: it moves on, and is no word on the job."""

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, WaiterMode
from aiostreamq.store.delayed import DelayedJobs
from tests.support.store import ENVELOPE, Store, outcome_of

#: Milliseconds that no test lasts.
LATER = 60_000


async def deliver_both(store: Store) -> tuple[Delivery, Delivery]:
    """Have a worker be sent a job, and a stranger's entry that says the same id."""
    await store.enqueue("a", mark=WaiterMode.CALLER)
    forged = ("id", "a", "n", "1", "job", ENVELOPE)
    await store.call("XADD", store.keys.stream("default"), "*", *forged)
    own, namesake = await store.read()
    return own, namesake


@pytest.mark.parametrize("delay_ms", [0, LATER])
async def test_retry(store: Store, delay_ms: int) -> None:
    """It runs again, at once as there is no place to keep it; the job is where it was."""
    own, namesake = await deliver_both(store)
    before = await store.hash_at(store.keys.job("a"))
    assert await DelayedJobs(store.queue).retry([RetryRequest(namesake, delay_ms)]) == []
    assert await store.hash_at(store.keys.job("a")) == before
    assert [(d.job_id, d.number) for d in await store.read("w2")] == [("a", 2)]
    assert await store.settle(own) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(own)


async def test_park(store: Store) -> None:
    """It is set aside and released like any other; the job is where it was all the time."""
    own, namesake = await deliver_both(store)
    before = await store.hash_at(store.keys.job("a"))
    assert await store.parking.park([(namesake, "t")]) == 1
    assert await store.hash_at(store.keys.job("a")) == before
    assert await store.parking.unpark(["t"]) == 1
    assert await store.hash_at(store.keys.job("a")) == before
    assert [d.job_id for d in await store.read("w2")] == ["a"]
    assert await store.settle(own) == []


async def test_parked_beside_the_job(store: Store) -> None:
    """Where both are parked, the job finds its own entry again."""
    own, namesake = await deliver_both(store)
    assert await store.parking.park([(namesake, "t"), (own, "t")]) == 2
    assert await store.parking.unpark(["t"]) == 2
    _, released = await store.read("w2")
    assert await store.hash_at(store.keys.job("a")) == {
        "e": released.entry.decode(),
        "s": "returned",
        "w": "me",
    }


@pytest.mark.parametrize("delay_ms", [0, LATER])
async def test_no_hash(store: Store, delay_ms: int) -> None:
    """An entry of no job runs again too: at once it leaves no hash, later it needs one."""
    delivery = await store.deliver("a")
    await store.call("DEL", store.keys.job("a"))
    assert await DelayedJobs(store.queue).retry([RetryRequest(delivery, delay_ms)]) == []
    assert await store.call("EXISTS", store.keys.job("a")) == (1 if delay_ms else 0)
    assert await store.results.job_state("a") == (b"delayed" if delay_ms else None)


async def test_no_hash_when_parked(store: Store) -> None:
    """Parked and released, an entry of no job leaves no hash behind that nobody would delete."""
    delivery = await store.deliver("a")
    await store.call("DEL", store.keys.job("a"))
    assert await store.parking.park([(delivery, "t")]) == 1
    assert await store.call("EXISTS", store.keys.job("a")) == 0
    assert await store.parking.unpark(["t"]) == 1
    assert await store.call("EXISTS", store.keys.job("a")) == 0
    assert [d.job_id for d in await store.read("w2")] == ["a"]
