"""Held jobs that are cancelled or expire, and those that a worker may not run."""

import asyncio
from typing import cast

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest
from aiostreamq.store.cancellation import Cancellation
from tests.support.limits import TASK, Limits, backlog
from tests.support.store import ENVELOPE, Store

A, B = backlog("c=a"), backlog("c=b")
EXPIRED = ENVELOPE[:-1] + b',"expires":1}'
HOUR = 3_600_000


def ids_of(deliveries: list[Delivery]) -> list[str]:
    """The jobs, in their order."""
    return [one.job_id for one in deliveries]


@pytest.mark.parametrize("where", ["ready", "blocked"])
async def test_cancel_held(store: Store, limits: Limits, where: str) -> None:
    """The job ends, its waiter is heard, and nothing of it is left."""
    await limits.rule("c=a", "1")
    if where == "blocked":
        await limits.enqueue("first", backlog=A)
    await limits.enqueue("a", "b", backlog=A, mark="1")
    running = await limits.admit() if where == "blocked" else []
    assert await Cancellation(store.queue).cancel(["a", "b"]) == [b"held", b"held"]
    assert await limits.counts() == {}
    await limits.check()
    assert len(await store.list_at(store.keys.inbox("me"))) == 2
    await store.settle(*running)
    assert await limits.admitted() == []
    assert await limits.is_left() == set()
    assert (await Cancellation(store.queue).cancel(["a"]))[0] not in {b"held", None}


async def test_cancel_only_other_states(store: Store, limits: Limits) -> None:
    """Held is a state to be chosen."""
    await limits.enqueue("a", backlog=A)
    cancellation = Cancellation(store.queue)
    assert await cancellation.cancel(["a"], ["queued"]) == [b"held"]
    assert await limits.counts() == {"default": 1}
    await limits.check()


@pytest.mark.parametrize("token", ["c=all", "r=all"])
async def test_cancelled_when_it_was_woken(store: Store, limits: Limits, token: str) -> None:
    """The room for which it was woken is for the next."""
    is_rate = token.startswith("r")
    await limits.rule(token, "1 20 1" if is_rate else "1")
    first = [backlog(f"c=k:{number}", token) for number in range(3)]
    for number, name in enumerate(first):
        await limits.enqueue(f"j{number}", backlog=name)
    (running,) = await limits.admit()
    await limits.admit()
    await store.settle(running)
    while not (ready := await limits.members("ready")):
        await limits.look(0)
    woken = await limits.members(f"backlog:{ready[0]}")
    await Cancellation(store.queue).cancel(woken)
    await limits.check()
    (other,) = {"j0", "j1", "j2"} - {running.job_id, *woken}
    found: list[str] = []
    for _ in range(3):
        seen = await limits.look()
        found += ids_of(seen.read.deliveries)
        assert found or seen.wait is not None
        await asyncio.sleep(0 if found else seen.wait or 0)
    assert found == [other]


async def test_expired_head_charges_nothing(store: Store, limits: Limits) -> None:
    """Its worker ends it, and it holds no permits; the one behind it takes the room."""
    await limits.rule("c=a", "1")
    await limits.rule("r=r", f"1 {HOUR} 1")
    name = backlog("c=a", "r=r")
    await limits.enqueue("old", backlog=name, envelope=EXPIRED)
    await limits.enqueue("new", backlog=name)
    old, new = await limits.admit()
    assert (old.job_id, old.permits, new.permits) == ("old", b"", b"c=a r=r")
    assert await limits.permits("c=a") == {"new 1"}
    await store.settle(old)
    assert await limits.permits("c=a") == {"new 1"}


async def test_expired_passes_a_full_limit(limits: Limits) -> None:
    """A job that is only to be ended needs no room."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", backlog=A)
    await limits.enqueue("old", backlog=A, envelope=EXPIRED)
    await limits.enqueue("b", backlog=A)
    assert await limits.admitted() == ["a", "old"]
    await limits.check()


async def test_only_the_first_attempt_expires(store: Store, limits: Limits) -> None:
    """A job that ran in time does not expire while it waits for its next attempt."""
    await limits.rule("c=a", "1")
    await store.enqueue("a", envelope=EXPIRED)
    await store.delayed.retry([RetryRequest(one, 0) for one in await store.read()])
    (again,) = await store.read()
    await limits.hold(again, backlog=A)
    (again,) = await limits.admit()
    assert (again.attempt, again.permits) == (2, b"c=a")


@pytest.mark.parametrize("name", [backlog("c=a", task="other"), backlog("c=a", lane="slow")])
async def test_others_jobs_stay_ready(store: Store, limits: Limits, name: str) -> None:
    """A worker leaves the jobs of tasks and lanes that it may not run, and other workers hear."""
    await limits.enqueue("a", backlog=name)
    await limits.enqueue("b", backlog=B)
    seen = await limits.look(lanes=["default"])
    assert ids_of(seen.read.deliveries) == ["b"]
    assert not seen.has_more
    assert await limits.members("ready") == [name]
    (bell,) = await bell_of(store)
    await limits.look(lanes=["default"], bell=bell)
    assert (await store.stream_at(store.keys.control))[-1] == {"say": "held"}
    assert ids_of(await limits.admit(tasks=[TASK, "other"])) == ["a"]


async def bell_of(store: Store) -> list[bytes]:
    """Return the entries of the bell."""
    found = await store.call("XRANGE", store.keys.bell, "-", "+")
    return [entry for entry, _ in cast("list[tuple[bytes, object]]", found)]


async def test_bell_is_taken(store: Store, limits: Limits) -> None:
    """The message that has woken a worker is gone when it has looked."""
    await limits.enqueue("a", backlog=A)
    read = await store.deliveries.read(store.link, "w1", 10, None, None, store.keys.bell)
    assert read.bell
    await limits.look(bell=read.bell)
    assert await bell_of(store) == []


async def test_room_is_not_kept_for_jobs_that_no_worker_runs(store: Store, limits: Limits) -> None:
    """A backlog of a paused task is woken first; the one behind it takes the room in between."""
    await limits.rule("c=all", "1")
    await limits.enqueue("first", backlog=backlog("c=all", "c=free"))
    (first,) = await limits.admit()
    await limits.enqueue("paused", backlog=backlog("c=all", task="other"))
    await limits.admit(tasks=[TASK, "other"])
    await limits.enqueue("a", "b", backlog=backlog("c=all"))
    await limits.admit(tasks=[TASK, "other"])
    await limits.admit(tasks=[TASK, "other"])
    await store.call("ZADD", f"{store.keys.prefix}blocked:c=all", -1, "default other c=all")
    await store.settle(first)
    assert await limits.members("ready") == ["default other c=all"]
    (a,) = await limits.admit()
    assert a.job_id == "a"
    await store.settle(a)
    assert await limits.admitted() == ["b"]


async def test_many_jobs_that_no_worker_runs(limits: Limits) -> None:
    """They keep no other waiting, and no worker looks at them again and again."""
    for number in range(700):
        await limits.enqueue(f"p{number}", backlog=backlog(f"c=k:{number}", task="other"))
    await limits.enqueue("a", backlog=backlog("c=z"))
    seen = await limits.look()
    assert ids_of(seen.read.deliveries) == ["a"]
    assert not seen.has_more
