"""Held jobs start as often as a rate allows, whatever the clock does."""

import asyncio
from itertools import pairwise

import pytest

from aiostreamq.model.delivery import Delivery
from tests.support.limits import Limits, backlog
from tests.support.store import Store
from tests.support.waiting import wait_until

A = backlog("c=a")
HOUR = 3_600_000


def ids_of(deliveries: list[Delivery]) -> list[str]:
    """The jobs, in their order."""
    return [one.job_id for one in deliveries]


@pytest.mark.parametrize("burst", [1, 3, 10])
async def test_burst(store: Store, limits: Limits, burst: int) -> None:
    """So many pass at once, and the next after the time of one."""
    await limits.rule("r=r", f"10 {10 * HOUR} {burst}")
    await limits.enqueue(*(f"j{number}" for number in range(12)), backlog=backlog("r=r"))
    seen = await limits.look()
    assert len(seen.read.deliveries) == burst
    assert seen.wait is not None
    assert 3500 < seen.wait <= 3600
    await store.settle(*seen.read.deliveries)
    assert await limits.admitted() == [], "an end gives nothing back of a rate"
    await limits.check()


async def test_spread(store: Store, limits: Limits) -> None:
    """Over the time, each passes when the one before is paid off, and none earlier."""
    await limits.rule("r=r", "1 50 1")
    await limits.enqueue(*"abcd", backlog=backlog("r=r"))
    entries: list[int] = []
    while len(entries) < 4:
        seen = await limits.look()
        entries += [int(one.entry.split(b"-")[0]) for one in seen.read.deliveries]
        await store.settle(*seen.read.deliveries)
        await asyncio.sleep(seen.wait or 0)
    gaps = [after - before for before, after in pairwise(entries)]
    assert min(gaps) >= 50


@pytest.mark.parametrize(("costs", "passes"), [("10", 1), ("5", 2), ("2.5", 4), ("0", 6)])
async def test_costs(limits: Limits, costs: str, passes: int) -> None:
    """A job takes what it costs."""
    await limits.rule("r=r", f"10 {10 * HOUR} 10")
    await limits.enqueue(*"abcdef", backlog=backlog("r=r"), costs=costs)
    assert len(await limits.admit()) == passes


async def test_cost_of_each_limit(limits: Limits) -> None:
    """A job of several limits has a cost for each."""
    await limits.rule("r=r", f"10 {10 * HOUR} 10")
    await limits.rule("c=a", "10")
    await limits.enqueue(*"abcd", backlog=backlog("c=a", "r=r"), costs="1 5")
    assert await limits.admitted() == ["a", "b"]


async def test_cost_above_what_a_limit_ever_has(limits: Limits) -> None:
    """An operator's rule may be smaller than the code's: such a job takes all there is."""
    await limits.rule("r=r", f"2 {2 * HOUR} 2")
    await limits.enqueue("a", "b", backlog=backlog("r=r"), costs="50")
    assert await limits.admitted() == ["a"]


async def test_clock_was_set_back(store: Store, limits: Limits) -> None:
    """A rate that was charged in a time to come waits for its own span at the longest."""
    await limits.rule("r=r", "1 1000 1")
    far = 4_000_000_000_000
    await store.call("SET", f"{store.keys.prefix}rate:r=r", str(far))
    await limits.enqueue("a", "b", backlog=backlog("r=r"))
    seen = await limits.look()
    assert seen.read.deliveries == []
    assert seen.wait is not None
    assert seen.wait <= 1.001
    await wait_until(limits.admitted, "the span of the rule to pass")


async def test_clock_was_set_back_while_jobs_waited(store: Store, limits: Limits) -> None:
    """When a limit has room again was heard by another clock: the next look does not believe it."""
    await limits.rule("r=r", "1 20 1")
    await limits.enqueue("a", "b", backlog=backlog("r=r"))
    await limits.admit()
    prefix = store.keys.prefix
    await limits.look()  # notes the time, as there is a limit that others wait for
    assert await store.call("EXISTS", prefix + "due_looked") == 1
    for key in ("rate:r=r", "due_looked"):
        await store.call("SET", prefix + key, "4000000000000")
    await store.call("ZADD", store.keys.due, "4000000000020", "r=r")
    found: list[str] = []
    while not found:
        seen = await limits.look()
        found = ids_of(seen.read.deliveries)
        assert seen.wait is None or seen.wait <= 0.1
        await asyncio.sleep(0.005)
    assert found == ["b"]


async def test_last_job_of_a_woken_backlog(limits: Limits) -> None:
    """It uses the room, and those behind it are looked at when there is room again."""
    await limits.rule("r=r", "1 20 1")
    for number in range(4):
        await limits.enqueue(f"j{number}", backlog=backlog(f"c=k:{number}", "r=r"))
    found: list[str] = []
    while len(found) < 4:
        seen = await limits.look(1)
        found += ids_of(seen.read.deliveries)
        assert seen.has_more or seen.wait is not None or len(found) == 4, "no worker looks again"
        await asyncio.sleep(seen.wait or 0)
    await limits.check()


async def test_two_workers_look(limits: Limits) -> None:
    """One worker looks when a rate has room, a second one half a second later, others do not."""
    await limits.rule("r=r", f"1 {HOUR} 1")
    await limits.enqueue("a", "b", backlog=backlog("r=r"))
    await limits.admit(consumer="w1")
    first = await limits.look(consumer="w1")
    second = await limits.look(consumer="w2")
    assert first.wait is not None
    assert second.wait is not None
    assert 0.4 < second.wait - first.wait <= 0.5
    others = [await limits.look(consumer=f"w{number}") for number in range(3, 9)]
    assert [one.wait for one in others] == [None] * 6, "the others leave it to these two"
    await limits.look(0, consumer="w2")  # it has no slot any more
    assert (await limits.look(consumer="w3")).wait is not None
    assert (await limits.look(consumer="w2")).wait is None
    await limits.look(0, consumer="w1")
    third = await limits.look(consumer="w2")
    assert third.wait is not None
    assert third.wait <= second.wait - 0.4
