"""A lock is taken by one caller at a time, in the order of the line, with a fence that rises."""

import pytest

from aiostreamq.errors import BrokerError
from tests.support.locks import LEASE, Locks
from tests.support.store import Store


@pytest.fixture
async def lock(store: Store) -> Locks:
    """A free lock."""
    return Locks(store)


async def test_free(lock: Locks) -> None:
    """The first caller has it; a repeated call returns the same fence."""
    fence, _ = await lock.take("x.1")
    assert fence > 0
    assert await lock.take("x.1") == (fence, 0.0)
    assert await lock.take("y.1", waited_ms=None) == (0, 0.0)
    assert await lock.waiting() == []


async def test_fence_rises(lock: Locks) -> None:
    """From holder to holder, also if all keys of the lock are gone, and between locks."""
    fences: list[int] = []
    for number in range(5):
        fences.append((await lock.take(f"x.{number}"))[0])
        await lock.release(f"x.{number}")
        await lock.store.call("DEL", lock.key, lock.line)
    assert fences == sorted(set(fences))


async def test_fence_rises_if_the_last_ones_were_lost(lock: Locks) -> None:
    """It is the time at least: what a failover loses comes back as the time passes."""
    first, _ = await lock.take("x.1")
    await lock.store.call("DEL", lock.key, lock.store.keys.lock_fence)
    started = await lock.now()
    second, _ = await lock.take("x.2")
    assert second >= max(first, started)


async def test_fence_rises_if_the_clock_is_set_back(lock: Locks) -> None:
    """It is one more than the last at least."""
    ahead = await lock.now() + 3_600_000
    await lock.store.call("SET", lock.store.keys.lock_fence, ahead)
    assert (await lock.take("x.1"))[0] == ahead + 1


async def test_fence_of_another_program(lock: Locks) -> None:
    """A value of another kind counts as 0."""
    await lock.store.call("SET", lock.store.keys.lock_fence, "none")
    assert (await lock.take("x.1"))[0] > 0


async def test_lease_that_is_over(lock: Locks) -> None:
    """The next caller has the lock."""
    first, _ = await lock.take("x.1")
    await lock.set(until=1)
    second, _ = await lock.take("y.1")
    assert second > first
    assert not await lock.renew("x.1")


async def test_clock_set_back(lock: Locks) -> None:
    """A lease lasts no longer than it was to last, as the next look sees it."""
    await lock.take("x.1", lease_ms=1000)
    await lock.set(until=await lock.now() + 3_600_000)
    _, pause = await lock.take("y.1")
    assert pause <= 1
    left = int((await lock.store.hash_at(lock.key))["until"]) - await lock.now()
    assert left <= 1000


async def test_line(lock: Locks) -> None:
    """Callers wait in their order; a free lock is kept for the first; others go after it."""
    await lock.take("x.1")
    for token in ("b.1", "a.1", "c.1"):
        assert (await lock.take(token))[0] == 0
    assert await lock.waiting() == ["b.1", "a.1", "c.1"]
    await lock.release("x.1")
    assert (await lock.take("d.1", waited_ms=None))[0] == 0
    assert (await lock.take("a.1"))[0] == 0
    for token in ("b.1", "a.1", "c.1"):
        assert (await lock.take(token))[0] > 0
        await lock.release(token)
    assert await lock.waiting() == []


async def test_pauses(lock: Locks) -> None:
    """The first looks at the end of the lease; the second soon; the others keep their places."""
    await lock.take("x.1", lease_ms=700)
    pauses = [(await lock.take(token))[1] for token in ("a.1", "b.1", "c.1")]
    assert 0 < pauses[0] <= 0.7
    assert pauses[1:] == [2, 5]


@pytest.mark.parametrize("place", [1, "gone", None], ids=["over", "no number", "missing"])
async def test_waiter_that_has_gone(lock: Locks, place: object) -> None:
    """A place that was not kept stops no other."""
    await lock.take("x.1")
    await lock.take("a.1")
    await lock.take("b.1")
    await lock.release("x.1")
    if place is None:
        await lock.store.call("HDEL", lock.key, "@a.1")
    else:
        await lock.set(at_a__1=place)
    assert (await lock.take("b.1"))[0] > 0
    assert await lock.waiting() == []


async def test_place_is_kept_as_long_as_it_was_to_be(lock: Locks) -> None:
    """If the clock was set back, it is kept from then on."""
    await lock.take("x.1")
    await lock.take("a.1")
    await lock.release("x.1")
    await lock.set(at_a__1=await lock.now() + 3_600_000)
    assert (await lock.take("b.1"))[0] == 0
    left = int((await lock.store.hash_at(lock.key))["@a.1"]) - await lock.now()
    assert left <= 15_000


async def test_lost_line(lock: Locks) -> None:
    """Waiters call again and have their places again: they say for how long they have waited."""
    await lock.take("x.1")
    await lock.take("a.1")
    await lock.take("b.1")
    await lock.store.call("DEL", lock.line)
    await lock.take("b.1", waited_ms=5_000)
    await lock.take("a.1", waited_ms=6_000)
    assert await lock.waiting() == ["a.1", "b.1"]


async def test_called_if_the_holder_has_died(lock: Locks) -> None:
    """A caller that finds the lock free calls the first in line, and does not go before it."""
    await lock.take("x.1")
    await lock.take("a.1")
    await lock.set(until=1)
    assert (await lock.take("b.1"))[0] == 0
    assert await lock.called("a") == [b"a.1"]


async def test_late_call(lock: Locks) -> None:
    """A call that comes after its caller has given up takes nothing."""
    await lock.release("x.1")
    assert (await lock.take("x.1"))[0] == 0
    await lock.take("y.1")
    await lock.release("y.1")
    assert (await lock.take("y.1"))[0] == 0
    assert (await lock.take("z.1"))[0] > 0


async def test_keys_expire(lock: Locks) -> None:
    """With the lease, and not before; the last fence stays."""
    await lock.take("x.1")
    await lock.take("y.1")
    assert LEASE < await lock.store.pttl(lock.key) <= LEASE + 1000
    assert LEASE < await lock.store.pttl(lock.line) <= LEASE + 1000
    assert await lock.store.pttl(lock.store.keys.lock_fence) == -1


@pytest.mark.parametrize("key", ["lock:a", "lock_line:a", "lock_fence"])
async def test_key_of_another_type(lock: Locks, key: str) -> None:
    """It is refused with the name of the key, and nothing is written."""
    key = lock.store.keys.prefix + key
    await lock.store.call("RPUSH", key, "x")
    before = await lock.store.key_names()
    with pytest.raises(BrokerError, match="WRONGTYPE") as refused:
        await lock.take("x.1")
    assert key in str(refused.value)
    assert await lock.store.key_names() == before


async def test_fields_of_another_program(lock: Locks) -> None:
    """A holder without a lease holds nothing."""
    await lock.set(owner="x.1", until="for ever")
    assert (await lock.take("y.1"))[0] > 0
