"""Permits come back however a delivery leaves its worker, and wake what waits for them."""

from collections.abc import Awaitable, Callable

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
from aiostreamq.model.keys import ADMITTED, GROUP
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.cancellation import Cancellation
from tests.support.limits import Limits, backlog
from tests.support.store import HOUR_MS, Store, outcome_of

A = backlog("c=a")
HOUR = 3_600_000


def ids_of(deliveries: list[Delivery]) -> list[str]:
    """The jobs, in their order."""
    return [one.job_id for one in deliveries]


async def settled(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.settle(delivery)


async def settled_dead(store: Store, delivery: Delivery) -> None:  # noqa: D103
    ended = Settlement(delivery, HOUR_MS, outcome_of(delivery), is_dead=True)
    assert (await store.deliveries.settle([ended], "w1")).ended


async def settled_without_result(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.settle(delivery, keep_ms=0)


async def settled_twice(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.settle(delivery)
    await store.settle(delivery)


async def retried(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.delayed.retry([RetryRequest(delivery, 0)])


async def retried_later(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.delayed.retry([RetryRequest(delivery, HOUR)])


async def requeued(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.deliveries.requeue([delivery])


async def parked(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.parking.park([(delivery, "t")])


async def recovered(store: Store, _: Delivery) -> None:  # noqa: D103
    await store.workers.join("w1", 1000)
    beat = (await store.hash_at(store.keys.workers))["w1"]
    await store.workers.recover("w1", beat, 3)


async def given_up(store: Store, _: Delivery) -> None:  # noqa: D103
    await store.workers.join("w1", 1000)
    beat = (await store.hash_at(store.keys.workers))["w1"]
    await store.workers.recover("w1", beat, 1)


async def refused(store: Store, delivery: Delivery) -> None:  # noqa: D103
    entries = [(delivery.stream, delivery.entry)]
    await store.deliveries.dead_letter_unreadable(entries, encode_unreadable("no"), "w1")


async def cancelled_and_settled(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await Cancellation(store.queue).cancel(["a"])
    await store.settle(delivery)


async def cancelled_and_requeued(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await Cancellation(store.queue).cancel(["a"])
    await store.deliveries.requeue([delivery])


async def without_its_group(store: Store, delivery: Delivery) -> None:  # noqa: D103
    await store.call("XGROUP", "DESTROY", store.keys.stream(ADMITTED), GROUP)
    await store.settle(delivery)
    await store.queue.create_groups(store.link)


WAYS = [
    *(settled, settled_dead, settled_without_result, settled_twice, retried, retried_later),
    *(requeued, parked, recovered, given_up, refused, cancelled_and_settled),
    *(cancelled_and_requeued, without_its_group),
]


@pytest.mark.parametrize("way", WAYS)
async def test_permits_return(
    store: Store, limits: Limits, way: Callable[[Store, Delivery], Awaitable[None]]
) -> None:
    """However a delivery leaves its worker, the next job passes, and a worker is woken."""
    for token in ("c=a", "c=b"):
        await limits.rule(token, "1")
    name = backlog("c=a", "c=b")
    await limits.enqueue("a", backlog=name)
    (delivery,) = await limits.admit()
    await limits.enqueue("b", backlog=name)
    await limits.admit(consumer="w2")
    await store.call("DEL", store.keys.bell)
    await store.queue.create_groups(store.link)
    await way(store, delivery)
    assert await limits.permits("c=a") == await limits.permits("c=b") == set()
    assert len(await store.stream_at(store.keys.bell)) == 1
    await limits.check()
    assert ids_of(await limits.admit(consumer="w2")) == ["b"]


async def test_late_settle_returns_no_permit_of_another(store: Store, limits: Limits) -> None:
    """A worker that was taken for dead settles what another one runs by now."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    (delivery,) = await limits.admit()
    await recovered(store, delivery)
    (again,) = await store.read("w2")
    await limits.hold(again, backlog=A)
    (again,) = await limits.admit(consumer="w2")
    assert (again.job_id, again.number) == ("a", 3)
    assert await store.settle(delivery) == [delivery]
    assert await limits.permits("c=a") == {"a 3"}
    assert await limits.admitted() == []


@pytest.mark.parametrize("what", ["entry", "hash", "other entry"])
async def test_permits_are_checked_by_reference(store: Store, limits: Limits, what: str) -> None:
    """A permit whose job has lost its delivery stops no worker."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    (delivery,) = await limits.admit()
    if what == "entry":
        await store.call("XDEL", store.keys.stream(ADMITTED), delivery.entry)
    elif what == "hash":
        await store.call("DEL", store.keys.job("a"))
    else:
        await store.call("HSET", store.keys.job("a"), "s", "default")
    await store.call("ZADD", store.keys.due, 0, "c=a")
    assert await limits.admitted() == ["b"]
    assert await limits.permits("c=a") == {"b 1"}


async def test_stray_behind_a_long_job_is_found(store: Store, limits: Limits) -> None:
    """The oldest permit may be one that is kept for long."""
    await limits.rule("c=a", "4")
    await limits.enqueue(*"abcde", backlog=A)
    running = await limits.admit()
    await store.call("XDEL", store.keys.stream(ADMITTED), running[-1].entry)
    found: list[str] = []
    while not found:
        await store.call("ZADD", store.keys.due, 0, "c=a")
        found = await limits.admitted()
    assert found == ["e"]
    assert await limits.permits("c=a") == {"a 1", "b 1", "c 1", "e 1"}
