"""A release calls the next waiter that lives, and changes nothing for others."""

import pytest

from aiostreamq.errors import BrokerError
from tests.support.locks import Locks
from tests.support.store import Store


@pytest.fixture
async def lock(store: Store) -> Locks:
    """A lock that x.1 holds."""
    lock = Locks(store)
    await lock.take("x.1")
    return lock


async def test_next_is_called(lock: Locks) -> None:
    """One waiter hears of it, in the inbox of its process; a repeated call does no harm."""
    await lock.take("a.1")
    await lock.take("b.1")
    assert await lock.release("x.1")
    assert await lock.called("a") == [b"a.1"]
    assert await lock.called("b") == []
    assert await lock.release("x.1")
    assert (await lock.take("a.1"))[0] > 0
    assert await lock.release("x.1")
    assert await lock.called("b") == []
    assert not await lock.renew("x.1")


async def test_waiter_that_has_gone_is_not_called(lock: Locks) -> None:
    """The one behind it is."""
    await lock.take("a.1")
    await lock.take("b.1")
    await lock.set(at_a__1=1)
    await lock.release("x.1")
    assert await lock.called("a") == []
    assert await lock.called("b") == [b"b.1"]


async def test_who_is_called_must_come_soon(lock: Locks) -> None:
    """Its place is kept for two seconds, however often it is called."""
    await lock.take("a.1")
    await lock.release("x.1")
    await lock.take("b.1")
    left = int((await lock.store.hash_at(lock.key))["@a.1"]) - await lock.now()
    assert left <= 2000


async def test_waiter_leaves(lock: Locks) -> None:
    """The lock stays held, and none is called."""
    await lock.take("a.1")
    await lock.take("b.1")
    assert not await lock.release("a.1")
    assert await lock.waiting() == ["b.1"]
    assert "@a.1" not in await lock.store.hash_at(lock.key)
    assert await lock.called("b") == []


async def test_who_was_called_leaves(lock: Locks) -> None:
    """The next one is called."""
    await lock.take("a.1")
    await lock.take("b.1")
    await lock.release("x.1")
    assert not await lock.release("a.1")
    assert await lock.called("b") == [b"b.1"]


async def test_lost_lock(lock: Locks) -> None:
    """It says so if another holds the lock, or its key was deleted; the other keeps it."""
    await lock.set(until=1)
    await lock.take("y.1")
    assert not await lock.release("x.1")
    assert await lock.renew("y.1")
    await lock.store.call("DEL", lock.key)
    assert not await lock.release("y.1")


async def test_keys_expire(lock: Locks) -> None:
    """In a minute, if there is no waiter."""
    await lock.release("x.1")
    assert 0 < await lock.store.pttl(lock.key) <= 60_000


async def test_inbox_of_another_type(lock: Locks) -> None:
    """The release passes; the waiter looks again by itself."""
    await lock.take("a.1")
    await lock.store.call("SET", lock.store.keys.inbox("a"), "x")
    assert await lock.release("x.1")
    assert (await lock.take("a.1"))[0] > 0


@pytest.mark.parametrize("key", ["lock:a", "lock_line:a"])
async def test_key_of_another_type(lock: Locks, key: str) -> None:
    """It is refused with the name of the key."""
    key = lock.store.keys.prefix + key
    await lock.store.call("SET", key, "x")
    with pytest.raises(BrokerError, match="WRONGTYPE") as refused:
        await lock.release("x.1")
    assert key in str(refused.value)
