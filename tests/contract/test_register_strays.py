"""register_strays.lua: consumers that never joined."""

from tests.support.store import Store

LEASE_MS = 1_000


async def test_consumer_that_never_joined_is_registered(store: Store) -> None:
    """What a worker read under a name that is already forgotten is not lost."""
    await store.enqueue("j")
    await store.read("ghost")
    assert await store.workers.register_strays(LEASE_MS) == 1
    assert await store.hash_at(store.keys.workers) == {"ghost": "0 1000"}
    assert (await store.workers.recover("ghost", "0 1000", 3)).returned == 1
