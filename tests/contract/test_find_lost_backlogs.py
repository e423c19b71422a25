"""Keys of limits that another program deletes: no job that is still there waits for ever."""

import asyncio

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.model.keys import GROUP
from aiostreamq.store.lost_backlogs import LostBacklogs
from tests.support.limits import Limits, backlog
from tests.support.store import Store
from tests.support.waiting import PATIENCE

#: In the state of `fill`, each of these exists.
KEYS = (
    *("ready", "due", "blocked:c=one", "blocked:c=x:1", "blocked:r=slow", "held", "floor", "place"),
    *("permits:c=one", "permits:c=x:1", "rate:r=slow", "due_claim", "due_looked", "bell"),
)

READY = backlog("c=free")
BLOCKED = [backlog("c=one"), backlog("c=one", "c=x:2"), backlog("c=x:1", "c=one")]
SLOW = backlog("r=slow")


async def fill(limits: Limits) -> list[Delivery]:
    """Have jobs of all kinds: that run, that wait for limits, for the time, and that are ready."""
    for token, rule in (("c=one", "1"), ("c=x", "1"), ("r=slow", "1 150 1")):
        await limits.rule(token, rule)
    running: list[Delivery] = []
    await limits.enqueue("one", backlog=BLOCKED[0])
    running += await limits.admit()
    await limits.enqueue("x", backlog=backlog("c=x:1"))
    running += await limits.admit()
    for number, name in enumerate([*BLOCKED, SLOW]):
        await limits.enqueue(*(f"{number}{letter}" for letter in "abc"), backlog=name)
    running += await limits.admit()
    running += (await limits.look()).read.deliveries  # on a slow machine, the rate has room again
    await limits.enqueue("f", backlog=READY)
    return running


async def run_all(store: Store, limits: Limits, running: list[Delivery], count: int) -> None:
    """Be the worker that ends so many jobs, and finds no more."""
    ended = set[str]()
    async with asyncio.timeout(PATIENCE):
        while running or len(ended) < count:
            for one in running:
                await store.settle(one)
                ended.add(one.job_id)
            seen = await limits.look()
            running = seen.read.deliveries
            if seen.loss:
                assert seen.loss == b"backlogs"
                await LostBacklogs(store.queue).find()
            await asyncio.sleep(0)
    assert len(ended) == count


@pytest.mark.parametrize("key", KEYS)
async def test_all_jobs_end(store: Store, limits: Limits, key: str) -> None:
    """A worker finds them again by itself when nothing else is left, and what is left is right."""
    running = await fill(limits)
    was_there = await store.call("DEL", store.keys.prefix + key) == 1
    assert was_there or key == "rate:r=slow", "which is gone when it is paid off"
    await run_all(store, limits, running, 15)
    assert await limits.is_left() == set()


@pytest.mark.parametrize("way", ["enqueue", "hold"])
@pytest.mark.parametrize("key", KEYS[:5])
async def test_next_job_brings_the_others_back(
    store: Store, limits: Limits, key: str, way: str
) -> None:
    """Also if the queue is never without other work."""
    await fill(limits)
    await store.call("DEL", store.keys.prefix + key)
    names = [READY, *BLOCKED, SLOW]
    for number, name in enumerate(names):
        if way == "enqueue":
            await limits.enqueue(f"new{number}", backlog=name)
        else:
            await limits.hold(await store.deliver(f"new{number}"), backlog=name)
    await limits.look()
    await limits.check()


async def test_nothing_is_lost(store: Store, limits: Limits) -> None:
    """A search finds none, and changes nothing."""
    await fill(limits)
    before = {key: await limits.scores(key) for key in ("ready", "due", "blocked:c=one")}
    assert await LostBacklogs(store.queue).find() == 0
    assert {key: await limits.scores(key) for key in before} == before
    await limits.check()


async def test_deleted_backlog(store: Store, limits: Limits) -> None:
    """Its jobs are lost, and no longer counted: nothing looks for them again and again."""
    await limits.enqueue("a", "b", backlog=READY)
    await store.call("DEL", store.keys.backlog(READY))
    assert (await limits.look()).loss == b"backlogs"
    assert await LostBacklogs(store.queue).find() == 0
    assert await limits.is_left() == set()
    assert (await limits.look()).loss == b""


async def test_one_worker_searches(limits: Limits, store: Store) -> None:
    """And not again for a minute, whatever is missed."""
    await limits.enqueue("a", backlog=READY)
    await store.call("DEL", store.keys.ready)
    assert [(await limits.look(consumer=name)).loss for name in ("w1", "w2", "w1")] == [
        b"backlogs",
        b"",
        b"",
    ]


async def test_rules_that_were_deleted(limits: Limits, store: Store) -> None:
    """A worker whose code has limits admits nothing before it has declared them again."""
    await limits.rule("c=one", "1")
    await limits.enqueue("a", "b", backlog=BLOCKED[0])
    await store.call("DEL", store.keys.limit_defaults)
    name, lanes, tasks = "w1", ["default"], ["size"]
    seen = await limits.held.admit(store.link, name, 9, b"", lanes, tasks, has_rules=True)
    assert (seen.loss, seen.read.deliveries) == (b"rules", [])
    await limits.rule("c=one", "1")
    seen = await limits.held.admit(store.link, name, 9, b"", lanes, tasks, has_rules=True)
    assert (seen.loss, [one.job_id for one in seen.read.deliveries]) == (b"", ["a"])


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_permits_that_no_worker_returned(limits: Limits, store: Store, most: int) -> None:
    """No end of a job will free them: a later look does, though it finds other work each time."""
    await limits.rule("c=one", str(most))
    await limits.enqueue(*(f"j{number}" for number in range(2 * most)), backlog=BLOCKED[0])
    gone = await limits.admit()
    assert len(gone) == most
    assert await limits.admitted() == []  # the others wait now
    stream = store.queue.streams[gone[0].stream - 1]
    for one in gone:  # as a worker of an older release, which takes over from a dead one, does
        await store.call("XACK", stream, GROUP, one.entry)
        await store.call("XDEL", stream, one.entry)
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < most:
            await limits.enqueue("f", backlog=READY)
            await store.call("DEL", store.keys.prefix + "due_looked")  # seconds have passed
            for one in await limits.admit():
                await store.settle(one)
                found += [one.job_id] if one.job_id != "f" else []
    assert sorted(found) == sorted(f"j{number}" for number in range(most, 2 * most))
    await limits.check()
