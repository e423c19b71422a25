"""Only the holder of a lock renews its lease."""

import pytest

from aiostreamq.errors import BrokerError
from tests.support.locks import LEASE, Locks
from tests.support.store import Store


@pytest.fixture
async def lock(store: Store) -> Locks:
    """A lock that x.1 holds."""
    lock = Locks(store)
    await lock.take("x.1", lease_ms=1000)
    return lock


async def test_holder(lock: Locks) -> None:
    """The lease and the keys last longer; the fence stays."""
    before = await lock.store.hash_at(lock.key)
    assert await lock.renew("x.1")
    after = await lock.store.hash_at(lock.key)
    assert int(after["until"]) > await lock.now() + LEASE - 10_000
    assert after["fence"] == before["fence"]
    assert await lock.store.pttl(lock.key) > LEASE


async def test_others(lock: Locks) -> None:
    """Another caller, a waiter, and a holder that has released it are refused."""
    await lock.take("y.1")
    assert not await lock.renew("y.1")
    await lock.release("x.1")
    assert not await lock.renew("x.1")


async def test_lease_that_is_over(lock: Locks) -> None:
    """It is renewed if the lock was not taken since."""
    await lock.set(until=1)
    assert await lock.renew("x.1")
    assert (await lock.take("y.1", waited_ms=None))[0] == 0


async def test_deleted_key(lock: Locks) -> None:
    """The lock is lost."""
    await lock.store.call("DEL", lock.key)
    assert not await lock.renew("x.1")
    assert await lock.store.key_names() & {"lock:a"} == set()


@pytest.mark.parametrize("key", ["lock:a", "lock_line:a"])
async def test_key_of_another_type(lock: Locks, key: str) -> None:
    """It is refused with the name of the key."""
    key = lock.store.keys.prefix + key
    await lock.store.call("SET", key, "x")
    with pytest.raises(BrokerError, match="WRONGTYPE") as refused:
        await lock.renew("x.1")
    assert key in str(refused.value)
