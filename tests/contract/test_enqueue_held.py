"""Jobs of limited tasks are put into backlogs, each id once, in the order of their arrival."""

import re

import pytest

from aiostreamq.model.delivery import HeldSubmission, WaiterMode
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.results import Subscription
from tests.support.limits import Limits, backlog
from tests.support.store import DEADLINE, ENVELOPE, Store, outcome_of

A, B = backlog("c=a"), backlog("c=b", lane="slow")


async def test_held(store: Store, limits: Limits) -> None:
    """A job waits in its backlog, which may be admitted, and its lane counts it."""
    assert await limits.enqueue("a", "b", backlog=A) == set()
    assert await limits.enqueue("c", backlog=B, costs="2.5") == set()
    assert await limits.members(f"backlog:{A}") == ["a", "b"]
    assert set(await limits.members("ready")) == {A, B}
    assert await limits.counts() == {"default": 2, "slow": 1}
    assert await store.results.job_state("a") == b"held"
    job = await store.hash_at(store.keys.job("c"))
    place = job.pop("b").partition(" ")
    assert job == {"p": ENVELOPE.decode(), "n": "1", "s": "held", "o": "2.5"}
    assert place[2] == B
    await limits.check()


async def test_wakes_a_worker_once(store: Store, limits: Limits) -> None:
    """One message for all jobs of a call, and none for a backlog that has jobs already."""
    await limits.enqueue("a", "b", backlog=A)
    assert len(await store.stream_at(store.keys.bell)) == 1
    await store.call("DEL", store.keys.bell)
    await limits.enqueue("c", backlog=A)
    assert await store.stream_at(store.keys.bell) == []


async def test_taken(store: Store, limits: Limits) -> None:
    """An id is taken by a job in a lane, by a held one, and by an outcome: nothing is changed."""
    await store.settle(await store.deliver("ended"))
    await store.enqueue("queued")
    await limits.enqueue("held", backlog=A)
    before = await store.hash_at(store.keys.job("held"))
    ids = ["queued", "new", "ended", "held", "new"]
    assert await limits.enqueue(*ids, backlog=B) == {0, 2, 3, 4}
    assert await limits.members(f"backlog:{B}") == ["new"]
    assert await store.hash_at(store.keys.job("held")) == before
    assert await store.enqueue("held") == {0}, "nor can a lane have it"
    await limits.check()


async def test_lost_reply(limits: Limits) -> None:
    """Repeated, it puts nothing in again, be the jobs held, running or ended."""
    await limits.enqueue("a", "b", "c", backlog=A)
    assert await limits.enqueue("a", "b", "c", backlog=A) == {0, 1, 2}
    a, b = await limits.admit(2)
    await limits.store.settle(a)
    assert await limits.enqueue("a", "b", "c", backlog=A) == {0, 1, 2}
    assert await limits.members(f"backlog:{A}") == ["c"]
    assert await limits.counts() == {"default": 1}
    await limits.store.settle(b)
    await limits.check()


async def test_waiter(store: Store, limits: Limits) -> None:
    """The inbox of the caller gets the outcome."""
    await limits.enqueue("a", backlog=A, mark=WaiterMode.CALLER, inbox="mine")
    (delivery,) = await limits.admit()
    await store.settle(delivery)
    assert await store.list_at(store.keys.inbox("mine")) == [b"a " + outcome_of(delivery)]


async def test_awaited_later(store: Store, limits: Limits) -> None:
    """A thorough look finds a held job in its place, and knows if that was deleted."""
    await limits.enqueue("a", backlog=A)
    await limits.enqueue("b", backlog=B)
    await store.call("DEL", f"{store.keys.prefix}backlog:{B}")
    found = await store.results.subscribe("me", ["a", "b"], thorough=True)
    assert found == [Subscription.WILL_TELL, Subscription.LOST]
    await store.settle(*await limits.admit())
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


async def test_no_result(store: Store, limits: Limits) -> None:
    """Nothing but the id is kept, as for a job that was in a lane."""
    await limits.enqueue("a", backlog=A, mark=WaiterMode.NO_RESULT)
    assert (await store.hash_at(store.keys.job("a")))["k"] == "0"
    await store.settle(*await limits.admit(), keep_ms=0)
    assert await store.call("EXISTS", store.keys.result("a")) == 0
    assert await store.pttl(store.keys.job("a")) > 0


async def test_order_survives_a_clock_that_is_set_back(store: Store, limits: Limits) -> None:
    """Places continue from the last one."""
    await limits.enqueue("a", backlog=A)
    name = store.keys.prefix + "place"
    await store.call("INCRBY", name, 3_600_000 * 1024)  # as if an hour had passed before
    await limits.enqueue("b", backlog=A)
    await limits.enqueue("c", "d", backlog=A)
    places = await limits.scores(f"backlog:{A}")
    assert list(places) == ["a", "b", "c", "d"]
    assert len(set(places.values())) == 4


async def test_places_are_exact(store: Store, limits: Limits) -> None:
    """Lua counts them one by one for two centuries."""
    await store.call("SET", store.keys.prefix + "place", 2**52 + 1)
    ids = [f"{number:03}" for number in reversed(range(100))]
    await limits.enqueue(*ids, backlog=A)
    assert await limits.members(f"backlog:{A}") == ids


@pytest.mark.parametrize("key", [f"backlog:{B}", "ready", "place"])
async def test_foreign_key_loses_no_job(store: Store, limits: Limits, key: str) -> None:
    """The error names it, no job is put in, and the same call passes when it is gone."""
    await store.call("RPUSH", store.keys.prefix + key, "of another program")
    with pytest.raises(CommandError, match=re.escape(store.keys.prefix + key)):
        await limits.enqueue("a", "b", backlog=B)
    assert await store.call("EXISTS", store.keys.job("a"), store.keys.job("b")) == 0
    await store.call("DEL", store.keys.prefix + key)
    await limits.enqueue("a", "b", backlog=B)
    assert await limits.admitted() == ["a", "b"]


async def test_foreign_backlog_stops_the_whole_call(store: Store, limits: Limits) -> None:
    """Which of the jobs is in it is for the caller not to know, so none of them is in."""
    await store.call("SET", store.keys.prefix + f"backlog:{B}", "?")
    both = (("a", A), ("b", B))
    jobs = [HeldSubmission(one, 0, "0", name, "", ENVELOPE) for one, name in both]
    with pytest.raises(CommandError, match="backlog:slow size c=b"):
        await limits.held.enqueue(jobs, "me", DEADLINE)
    assert await limits.counts() == {}
    assert await store.call("EXISTS", store.keys.job("a")) == 0


@pytest.mark.parametrize("key", ["floor", "held"])
async def test_does_without_a_foreign_key(store: Store, limits: Limits, key: str) -> None:
    """It only counts, or keeps the turns fair."""
    await store.call("RPUSH", store.keys.prefix + key, "of another program")
    await limits.enqueue("a", "b", backlog=A)
    assert await limits.admitted() == ["a", "b"]
