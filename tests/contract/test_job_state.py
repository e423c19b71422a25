"""The state of a job, as Redis knows it at each point of its life."""

from aiostreamq.model.keys import GROUP
from tests.support.store import Store, outcome_of


async def test_the_life_of_a_job(store: Store) -> None:
    """It waits, is run, and has ended."""
    assert await store.results.job_state("a") is None
    await store.enqueue("a")
    assert await store.results.job_state("a") == b"queued"
    (delivery,) = await store.read()
    assert await store.results.job_state("a") == b"running"
    await store.settle(delivery)
    assert await store.results.job_state("a") == outcome_of(delivery)
    await store.call("DEL", store.keys.result("a"))
    assert await store.results.job_state("a") is None


async def test_without_result(store: Store) -> None:
    """It is known to have ended while its id is taken."""
    await store.settle(await store.deliver("a"), keep_ms=0)
    assert await store.results.job_state("a") == b"done"


async def test_handed_back(store: Store) -> None:
    """It waits again, and runs again."""
    await store.deliveries.requeue([await store.deliver("a")])
    assert await store.results.job_state("a") == b"queued"
    await store.read("w2")
    assert await store.results.job_state("a") == b"running"


async def test_group_is_gone(store: Store) -> None:
    """Without its group nobody runs it: it waits."""
    await store.deliver("a")
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    assert await store.results.job_state("a") == b"queued"
