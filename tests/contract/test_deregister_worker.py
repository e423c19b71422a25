"""A worker that ends cleanly is removed from the registry."""

from tests.support.store import Store


async def test_nothing_left(store: Store) -> None:
    """A worker that has ended all it was sent is forgotten."""
    await store.settle(await store.deliver("a", "w1"))
    assert await store.consumers() == {"w1"}
    await store.workers.deregister("w1")
    assert await store.consumers() == set()


async def test_something_left(store: Store) -> None:
    """One that still has deliveries is kept: they would be thrown away with it."""
    await store.deliver("a", "w1")
    await store.workers.deregister("w1")
    assert await store.consumers() == {"w1"}
    assert await store.pending() == 1
    assert [d.job_id for d in await store.deliveries.read_all_own("w1")] == ["a"]


async def test_others(store: Store) -> None:
    """Other workers stay."""
    await store.settle(await store.deliver("a", "w1"))
    await store.settle(await store.deliver("b", "w2"))
    await store.workers.deregister("w1")
    assert await store.consumers() == {"w2"}


async def test_unknown(store: Store) -> None:
    """Leaving twice, or without having been there, is no error."""
    await store.workers.deregister("w1")
    await store.workers.deregister("w1")
    await store.call("FLUSHALL")
    await store.workers.deregister("w1")
