"""Deliveries without permits go to the backlogs of their limits, and come back in their place."""

import re
from typing import cast

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, WaiterMode
from aiostreamq.model.keys import GROUP
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.held import Hold
from tests.support.limits import Limits, backlog
from tests.support.store import Store, outcome_of
from tests.support.waiting import wait_until

A, B = backlog("c=a"), backlog("c=b")


async def read_again(store: Store, worker: str = "w1") -> Delivery:
    """Return the only delivery that is in a lane."""
    (delivery,) = await store.read(worker)
    return delivery


async def test_held(store: Store, limits: Limits) -> None:
    """It leaves its worker and its stream, waits, and comes back with a higher number."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    assert await limits.hold(delivery, backlog=A, costs="3") == 1
    assert await store.pending() == 0
    assert await store.stream_at(store.keys.stream("default")) == []
    assert await store.results.job_state("a") == b"held"
    assert (await store.hash_at(store.keys.job("a")))["o"] == "3"
    await limits.check()
    (again,) = await limits.admit()
    assert (again.job_id, again.number, again.permits) == ("a", 2, b"c=a")
    assert again.envelope == delivery.envelope
    await store.settle(again)
    assert await store.list_at(store.keys.inbox("me")) == [b"a " + outcome_of(again)]
    assert await limits.is_left() == set()


async def test_lost_reply(store: Store, limits: Limits) -> None:
    """Repeated, it changes nothing, wherever the job is by then."""
    delivery = await store.deliver("a")
    await limits.hold(delivery, backlog=A)
    assert await limits.hold(delivery, backlog=A) == 0
    assert await limits.members(f"backlog:{A}") == ["a"]
    (again,) = await limits.admit()
    assert await limits.hold(delivery, backlog=A) == 0
    assert await store.settle(again) == []
    assert await limits.hold(delivery, backlog=A) == 0
    assert await limits.counts() == {}
    assert await store.read() == []


async def test_of_another_worker(store: Store, limits: Limits) -> None:
    """A worker that has lost a job cannot hold it."""
    delivery = await store.deliver("a")
    await store.deliveries.requeue([delivery])
    assert await limits.hold(delivery, backlog=A) == 0
    assert (await read_again(store)).number == 2


async def test_entry_was_deleted(store: Store, limits: Limits) -> None:
    """Only its worker knows the job by then: it is run again, and held when it is read."""
    delivery = await store.deliver("a")
    await store.call("XDEL", store.keys.stream("default"), delivery.entry)
    assert await limits.hold(delivery, backlog=A) == 0
    await store.delayed.promote()
    assert (await read_again(store)).number == 2


async def clock_ms(store: Store) -> int:
    """Return the time of Redis, in ms."""
    seconds, micros = map(int, cast("list[bytes]", await store.call("TIME")))
    return seconds * 1000 + micros // 1000


async def test_place_of_arrival(store: Store, limits: Limits) -> None:
    """Jobs that were enqueued for a lane stand in line with others by when they came."""
    await store.enqueue("first")
    await limits.enqueue("second", backlog=A)
    await limits.hold(await read_again(store), backlog=A)
    # Within a millisecond, those of the lane come first.
    began = await clock_ms(store)

    async def has_passed() -> bool:
        return await clock_ms(store) > began

    await wait_until(has_passed, "the next millisecond")
    await store.enqueue("third")
    await limits.enqueue("fourth", backlog=A)
    await limits.hold(await read_again(store), backlog=A)
    found = await limits.members(f"backlog:{A}")
    assert sorted(found[:2]) == ["first", "second"], "maybe in one millisecond"
    assert sorted(found[2:]) == ["fourth", "third"]


@pytest.mark.parametrize("way", ["retry", "later", "requeue", "park"])
async def test_job_that_comes_back_takes_its_place(store: Store, limits: Limits, way: str) -> None:
    """It goes before those that have come after it, and keeps its lane and attempt."""
    name = backlog("c=a", lane="slow")
    await limits.enqueue("a", "b", "c", backlog=name)
    (delivery,) = await limits.admit(1)
    await leave(store, delivery, way)
    again = await read_again(store)
    assert again.permits is None
    # The worker knows only the lane of the task by then.
    await limits.hold(again, backlog=backlog("c=a"))
    assert await limits.members(f"backlog:{name}") == ["a", "b", "c"]
    (again, *_) = await limits.admit(1)
    assert (again.job_id, again.attempt) == ("a", 2 if way in {"retry", "later"} else 1)
    await limits.check()


async def leave(store: Store, delivery: Delivery, way: str) -> None:
    """Have a delivery leave its worker, so that its job comes back."""
    if way == "requeue":
        await store.deliveries.requeue([delivery])
    elif way == "park":
        await store.parking.park([(delivery, "t")])
        await store.parking.unpark(["t"])
    else:
        await store.delayed.retry([RetryRequest(delivery, int(way == "later"))])
        while not (await store.delayed.promote())[0] and way == "later":
            pass


async def test_deaths_and_history_are_kept(store: Store, limits: Limits) -> None:
    """A job that has killed a worker is still known for it when it has waited."""
    await store.workers.join("w1", 1000)
    await store.deliver("a")
    beat = (await store.hash_at(store.keys.workers))["w1"]
    await store.workers.recover("w1", beat, 3)
    again = await read_again(store, "w2")
    assert again.deaths == 1
    await limits.hold(again, backlog=A)
    (again,) = await limits.admit()
    assert (again.number, again.deaths) == (3, 1)


async def test_permits_return(store: Store, limits: Limits) -> None:
    """One that is held with permits of other limits gives them back."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    (delivery,) = await limits.admit()
    await limits.hold(delivery, backlog=B)
    assert await limits.permits("c=a") == set()
    await limits.check()
    assert set(await limits.admitted()) == {"a", "b"}


async def test_cancelled(store: Store, limits: Limits) -> None:
    """A job that was cancelled while its worker had it ends, and is not held."""
    delivery = await store.deliver("a")
    await Cancellation(store.queue).cancel(["a"])
    assert await limits.hold(delivery, backlog=A) == 1
    assert await store.call("EXISTS", store.keys.result("a")) == 1
    assert await limits.is_left() == set()


async def test_hash_of_another_job(store: Store, limits: Limits) -> None:
    """An entry with the id of another job cannot be kept, so it runs at once, and once only."""
    await store.enqueue("a")
    stream = store.keys.stream("default")
    await store.call("XADD", stream, "*", "id", "a", "n", "1", "job", "{}")
    own, other = await store.read()
    assert await limits.hold(own, other, backlog=A) == 2
    assert await limits.members(f"backlog:{A}") == ["a"]
    again = await read_again(store)
    assert (again.envelope, again.permits) == (b"{}", b"-")


async def test_group_was_deleted(store: Store, limits: Limits) -> None:
    """Both who have the delivery then may hold it: it waits once."""
    delivery = await store.deliver("a")
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    await store.queue.create_groups(store.link)
    again = await read_again(store, "w2")
    await limits.hold(again, backlog=A)
    assert await limits.hold(delivery, backlog=A) == 0
    assert await limits.counts() == {"default": 1}


async def test_foreign_backlog_stops_no_other(store: Store, limits: Limits) -> None:
    """The delivery that needs it stays its worker's, and the others are held."""
    await store.enqueue("a", "b")
    a, b = await store.read()
    key = f"{store.keys.prefix}backlog:{A}"
    await store.call("SET", key, "?")
    with pytest.raises(CommandError, match=re.escape(key)):
        await limits.held.hold([Hold(a, A, ""), Hold(b, B, "")])
    assert await store.pending() == 1
    assert await limits.members(f"backlog:{B}") == ["b"]
    await store.call("DEL", key)
    await limits.held.hold([Hold(a, A, ""), Hold(b, B, "")])
    assert set(await limits.admitted()) == {"a", "b"}


@pytest.mark.parametrize("key", ["ready", "stream:returned", "cancelled"])
async def test_foreign_key_loses_no_job(store: Store, limits: Limits, key: str) -> None:
    """The worker keeps its delivery, and the same call passes when the key is gone."""
    delivery = await store.deliver("a")
    await store.call("DEL", store.keys.prefix + key)
    await store.call("SET", store.keys.prefix + key, "?")
    with pytest.raises(CommandError, match=re.escape(store.keys.prefix + key)):
        await limits.hold(delivery, backlog=A)
    assert await store.pending() == 1
    await store.call("DEL", store.keys.prefix + key)
    await limits.open()
    assert await limits.hold(delivery, backlog=A) == 1
    assert await limits.admitted() == ["a"]


async def test_foreign_backlog_of_an_earlier_lane(store: Store, limits: Limits) -> None:
    """A job whose own backlog was overwritten in between waits in that of its task's lane."""
    name = backlog("c=a", lane="slow")
    await limits.enqueue("a", backlog=name)
    (delivery,) = await limits.admit()
    await store.deliveries.requeue([delivery])
    await store.call("SET", f"{store.keys.prefix}backlog:{name}", "?")
    await limits.hold(await read_again(store), backlog=A)
    assert await limits.members(f"backlog:{A}") == ["a"]
