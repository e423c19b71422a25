"""A running job sets what it has cost a rate, in place of what was reserved when it started."""

import re

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.store.connection.link import CommandError
from tests.support.limits import Limits, backlog
from tests.support.store import Store
from tests.support.waiting import wait_until

HOUR = 3_600_000

#: Ten an hour, and an hour is longer than any test.
TEN = f"10 {10 * HOUR} 10"

R = backlog("c=a", "r=r")


async def start(limits: Limits, job_id: str, costs: str = "1 4") -> Delivery:
    """Admit a job that has reserved 4."""
    await limits.rule("c=a", "1000")
    await limits.rule("r=r", TEN)
    await limits.enqueue(job_id, backlog=R, costs=costs)
    (delivery,) = await limits.admit(1)
    return delivery


async def room(limits: Limits) -> int:
    """Return how many jobs that cost 1 may start now; they are started."""
    await limits.enqueue(*(f"probe{number}" for number in range(25)), backlog=backlog("r=r"))
    return len(await limits.admit())


@pytest.mark.parametrize(
    ("actual", "left"), [(4, 6), (0, 10), (1.5, 8), (9, 1), (10, 0), (15, 0), (1e9, 0)]
)
async def test_replaces_what_was_reserved(limits: Limits, actual: float, left: int) -> None:
    """By less, or by more: also by more than there is."""
    delivery = await start(limits, "a")
    assert await limits.held.charge(delivery, "r=r", actual)
    assert await room(limits) == left


async def test_sets_and_does_not_add(store: Store, limits: Limits) -> None:
    """Repeated after a lost reply it changes nothing, and a later call replaces the one before."""
    delivery = await start(limits, "a")
    for cost in (7, 7, 7, 2, 9, 3, 3):
        assert await limits.held.charge(delivery, "r=r", cost)
    entry = delivery.entry.decode()
    assert (await store.hash_at(store.keys.job("a")))["r"] == f"{entry} r=r 3"
    assert await room(limits) == 7


async def test_of_a_job_in_an_order(limits: Limits) -> None:
    """The cost that was reserved is found behind the order, which has none."""
    await limits.rule("r=r", TEN)
    await limits.enqueue("a", backlog=backlog("o=a", "r=r"), costs="1 4")
    (delivery,) = await limits.admit()
    assert await limits.held.charge(delivery, "r=r", 1)
    assert await room(limits) == 9


async def test_without_a_cost_of_its_own(limits: Limits) -> None:
    """A job that has reserved 1 can turn out to be another."""
    delivery = await start(limits, "a", costs="")
    assert await limits.held.charge(delivery, "r=r", 5)
    assert await room(limits) == 5


async def test_each_rate_of_a_job(store: Store, limits: Limits) -> None:
    """A job has an account with each."""
    for token in ("r=r", "r=s:x"):
        await limits.rule(token.partition(":")[0], TEN)
    await limits.enqueue("a", backlog=backlog("r=r", "r=s:x"), costs="2 3")
    (delivery,) = await limits.admit(1)
    for cost in (5, 6):
        for token in ("r=r", "r=s:x"):
            assert await limits.held.charge(delivery, token, cost + (token != "r=r"))
    entry = delivery.entry.decode()
    kept = (await store.hash_at(store.keys.job("a")))["r"]
    assert kept == f"{entry} r=r 6 {entry} r=s:x 7"
    assert await room(limits) == 4


@pytest.mark.parametrize("way", ["ended", "requeued", "held again", "forgotten"])
async def test_has_left_its_worker(store: Store, limits: Limits, way: str) -> None:
    """A delivery that has left its worker charges nothing any more."""
    delivery = await start(limits, "a")
    if way == "ended":
        await store.settle(delivery)
    elif way == "requeued":
        await store.deliveries.requeue([delivery])
    elif way == "held again":
        await limits.hold(delivery, backlog=R, costs="1 4")
    else:
        await store.call("DEL", store.keys.job("a"))
    assert not await limits.held.charge(delivery, "r=r", 9)
    assert "r" not in await store.hash_at(store.keys.job("a"))
    if way != "held again":
        assert await room(limits) == 6


async def test_next_delivery_reserves_again(limits: Limits) -> None:
    """The charge of one delivery stays; the next one has an account of its own."""
    first = await start(limits, "a", costs="1 2")
    assert await limits.held.charge(first, "r=r", 3)
    await limits.hold(first, backlog=R, costs="1 2")
    (second,) = await limits.admit(1)
    assert await limits.held.charge(second, "r=r", 1)
    assert not await limits.held.charge(first, "r=r", 0)
    assert await room(limits) == 6


async def test_job_that_waits_starts_when_less_was_charged(store: Store, limits: Limits) -> None:
    """A worker is woken at once."""
    delivery = await start(limits, "a", costs="1 10")
    await limits.enqueue("b", backlog=R)
    assert await limits.admitted() == []
    await store.call("DEL", store.keys.prefix + "bell")
    await limits.held.charge(delivery, "r=r", 10)
    assert await store.call("EXISTS", store.keys.prefix + "bell") == 0, "nothing was given back"
    await limits.held.charge(delivery, "r=r", 9)
    assert await store.call("EXISTS", store.keys.prefix + "bell") == 1
    assert await limits.admitted() == ["b"]
    await limits.check()


async def test_no_more_is_owed_than_a_limit_has(store: Store, limits: Limits) -> None:
    """However much a job has cost, the wait is bounded: by the time of twice what it ever has."""
    delivery = await start(limits, "a")
    await limits.held.charge(delivery, "r=r", 1e9)
    await limits.enqueue("b", backlog=R)
    seen = await limits.look()
    assert seen.wait is not None
    assert 10.9 * HOUR < seen.wait * 1000 <= 11 * HOUR
    await limits.held.charge(delivery, "r=r", 11)
    assert await store.pttl(store.keys.prefix + "rate:r=r") <= 20 * HOUR


async def test_another_rule_is_owed_nothing(limits: Limits) -> None:
    """An operator who raises a rate has jobs start again after the time of one, not of all."""
    delivery = await start(limits, "a")
    await limits.held.charge(delivery, "r=r", 1e9)
    await limits.enqueue("b", backlog=R)
    await limits.operate("r=r", "1000 10000 1000")
    seen = await limits.look()
    assert seen.wait is not None
    assert seen.wait <= 0.04


async def test_is_paid_off(limits: Limits) -> None:
    """A debt is paid off as time passes, as all that is charged."""
    await limits.rule("r=r", "10 50 10")
    await limits.enqueue("a", backlog=backlog("r=r"))
    (delivery,) = await limits.admit(1)
    await limits.held.charge(delivery, "r=r", 20)
    await limits.enqueue("b", backlog=backlog("r=r"))

    async def is_admitted() -> bool:
        return await limits.admitted() == ["b"]

    await wait_until(is_admitted, "it to be paid off")


@pytest.mark.parametrize("rule", ["", "0 1000 0"])
async def test_rule_has_changed(store: Store, limits: Limits, rule: str) -> None:
    """Under a rule that counts nothing, nothing is charged."""
    delivery = await start(limits, "a")
    await store.call("HDEL", store.keys.limit_defaults, "r=r")
    if rule:
        await limits.operate("r=r", rule)
    assert await limits.held.charge(delivery, "r=r", 9)
    await limits.operate("r=r", TEN)
    assert await room(limits) == 6


async def test_key_of_another_program(store: Store, limits: Limits) -> None:
    """It is named, and nothing is changed."""
    delivery = await start(limits, "a")
    key = f"{store.keys.prefix}rate:r=r"
    await store.call("DEL", key)
    await store.call("RPUSH", key, "x")
    with pytest.raises(CommandError, match=re.escape(key)):
        await limits.held.charge(delivery, "r=r", 9)
    assert "r" not in await store.hash_at(store.keys.job("a"))


async def test_goes_with_the_job(store: Store, limits: Limits) -> None:
    """Nothing is left when the job has ended and what was charged is paid off."""
    delivery = await start(limits, "a")
    await limits.held.charge(delivery, "r=r", 9)
    await store.settle(delivery)
    assert await limits.is_left() == set()
    assert await store.pttl(store.keys.prefix + "rate:r=r") > 0
    assert await store.hash_at(store.keys.job("a")) == {}
