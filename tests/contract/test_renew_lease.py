"""renew_lease.lua: the beat of a worker."""

from aiostreamq.store.workers import RECOVER_LIMIT
from tests.support.store import Store

LEASE_MS = 1_000


async def test_each_renewal_changes_the_beat(store: Store) -> None:
    """Each renewal changes the beat, which is all that others look at."""
    await store.workers.join("a", LEASE_MS)
    first = await store.hash_at(store.keys.workers)
    assert await store.workers.renew("a", LEASE_MS)
    second = await store.hash_at(store.keys.workers)
    assert first == {"a": "0 1000"}
    assert second == {"a": "1 1000"}


async def test_worker_that_never_joined_cannot_renew(store: Store) -> None:
    """A worker nobody has heard of is told to start afresh."""
    assert not await store.workers.renew("a", LEASE_MS)


async def test_recovered_worker_cannot_renew(store: Store) -> None:
    """The dead learn of it with their next beat."""
    await store.workers.join("a", LEASE_MS)
    await store.workers.recover("a", "0 1000", 3)
    assert not await store.workers.renew("a", LEASE_MS)


async def test_renewal_keeps_the_lanes(store: Store) -> None:
    """They are told when a worker joins, and with each beat; and of one that is being reaped."""
    await store.workers.join("a", LEASE_MS, ["high", "low"])
    assert await store.workers.renew("a", LEASE_MS)
    beats = await store.hash_at(store.keys.workers)
    assert beats == {"a": "1 1000 high low"}
    await store.enqueue(*(f"j{number}" for number in range(RECOVER_LIMIT)))
    await store.read("a", 1_000)
    assert (await store.workers.recover("a", beats["a"], 3)).finished == 0
    assert not await store.workers.renew("a", LEASE_MS)
    assert await store.hash_at(store.keys.workers) == {"a": "dead high low"}
    assert (await store.workers.recover("a", "dead high low", 3)).finished == 1
