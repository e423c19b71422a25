"""Another program, or an operator by mistake, has put something else in the place of a key.

The rule is decision 0016. A script that needs the key raises an error that names it, and has not
touched the jobs that need it. Once the key is deleted the same call passes, and no job is lost.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement, WaiterMode
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import GROUP
from aiostreamq.model.outcome import (
    encode_ended,
    encode_unreadable,
)
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Span
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.results import Subscription
from aiostreamq.store.workers import WorkerRegistry
from tests.support.store import DEADLINE, ENVELOPE, HOUR_MS, Store, outcome_of

LONG_AGO = "1000"
LATER_MS = 60_000
FAILED = encode_ended("size", 1, JobState.FAILED)

Act = Callable[[], Awaitable[object]]


async def deliver(store: Store) -> list[Delivery]:
    """Have a worker be sent two jobs that are waited for."""
    await WorkerRegistry(store.queue).join("w1", 1_000)
    await store.enqueue("a", "b", mark=WaiterMode.CALLER)
    return await store.read()


async def delay(store: Store, due: str) -> int:
    """Keep two jobs for later, each for another lane; returns how many are kept."""
    jobs = [
        ("a", "slow", WaiterMode.CALLER, due, ENVELOPE),
        ("b", "default", WaiterMode.CALLER, due, ENVELOPE),
    ]
    return 2 - len(await DelayedJobs(store.queue).delay(jobs, "me", DEADLINE))


# Each puts the jobs where the step of its name finds them, and returns that step.


async def enqueue(store: Store) -> Act:  # noqa: D103
    return lambda: store.enqueue("a", "b")


async def delaying(store: Store) -> Act:  # noqa: D103
    return lambda: delay(store, "+60000")


async def hand_back(store: Store) -> Act:  # noqa: D103
    deliveries = await deliver(store)
    return lambda: store.deliveries.requeue(deliveries)


async def bury(store: Store) -> Act:  # noqa: D103
    entries = [(d.stream, d.entry) for d in await deliver(store)]
    return lambda: store.deliveries.dead_letter_unreadable(entries, encode_unreadable("no"), "w1")


async def reap(store: Store) -> Act:  # noqa: D103
    await deliver(store)
    return lambda: WorkerRegistry(store.queue).recover("w1", "0 1000", 3)


async def reap_poison(store: Store) -> Act:  # noqa: D103
    await deliver(store)
    return lambda: WorkerRegistry(store.queue).recover("w1", "0 1000", 1)


async def retry(store: Store) -> Act:  # noqa: D103
    batch = [RetryRequest(d, 0) for d in await deliver(store)]
    return lambda: DelayedJobs(store.queue).retry(batch)


async def retry_later(store: Store) -> Act:  # noqa: D103
    batch = [RetryRequest(d, LATER_MS) for d in await deliver(store)]
    return lambda: DelayedJobs(store.queue).retry(batch)


async def park(store: Store) -> Act:  # noqa: D103
    batch = [(d, "t") for d in await deliver(store)]
    return lambda: ParkedJobs(store.queue).park(batch)


async def release(store: Store) -> Act:  # noqa: D103
    await (await park(store))()
    return lambda: ParkedJobs(store.queue).unpark(["t"])


async def promote(store: Store) -> Act:  # noqa: D103
    await delay(store, LONG_AGO)
    return DelayedJobs(store.queue).promote


async def replay(store: Store) -> Act:  # noqa: D103
    batch = [Settlement(d, HOUR_MS, FAILED, is_dead=True) for d in await deliver(store)]
    await store.deliveries.settle(batch, "w1")
    graveyard = DeadLetterStore(store.queue)
    pages = [page async for page in graveyard.oldest_first(Span())]
    place = store.queue.place_of("slow")
    revivals = [
        Replay(letter.id, letter.job_id, place, WaiterMode.NOBODY, letter.envelope, b"[]")
        for page in pages
        for letter in page
    ]
    return lambda: graveyard.replay(revivals)


async def settle(store: Store) -> Act:  # noqa: D103
    deliveries = await deliver(store)
    return lambda: store.settle(*deliveries)


async def settle_shortly(store: Store) -> Act:  # noqa: D103
    deliveries = await deliver(store)
    return lambda: store.settle(*deliveries, keep_ms=30_000)


async def settle_dead(store: Store) -> Act:  # noqa: D103
    a, b = await deliver(store)
    batch = [Settlement(a, HOUR_MS, FAILED, is_dead=True), Settlement(b, HOUR_MS, outcome_of(b))]
    return lambda: store.deliveries.settle(batch, "w1")


def cancel(store: Store) -> Act:
    """Cancel both."""
    return lambda: Cancellation(store.queue).cancel(["a", "b"])


async def cancel_delayed(store: Store) -> Act:  # noqa: D103
    await delay(store, "+60000")
    return cancel(store)


async def cancel_parked(store: Store) -> Act:  # noqa: D103
    await (await park(store))()
    return cancel(store)


async def cancel_queued(store: Store) -> Act:  # noqa: D103
    await store.enqueue("a", "b", mark=WaiterMode.CALLER)
    return cancel(store)


async def cancel_running(store: Store) -> Act:  # noqa: D103
    await deliver(store)
    return cancel(store)


class Case(NamedTuple):
    """A step, and the keys that it meets changed."""

    put: Callable[[Store], Awaitable[Act]]
    raises: tuple[str, ...]  #: without these it cannot be taken
    passes: tuple[str, ...] = ()  #: without these it can


CASES = [
    Case(enqueue, ("stream:default",)),
    Case(delaying, ("delayed",), ("control",)),
    Case(hand_back, ("stream:returned", "cancelled"), ("job:a",)),
    Case(bury, ("dead", "cancelled"), ("job:a", "inbox:me", "result:a")),
    Case(reap, ("stream:returned", "dead", "cancelled", "workers", "stream:slow"), ("job:a",)),
    Case(reap_poison, ("dead", "stream:returned"), ("job:a", "inbox:me", "result:a")),
    Case(retry, ("stream:returned", "cancelled", "delayed"), ("job:a", "control")),
    Case(retry_later, ("stream:returned", "cancelled", "delayed"), ("job:a", "control")),
    Case(park, ("parked", "parked:t", "cancelled"), ("job:a",)),
    Case(release, ("stream:returned", "parked"), ("job:a",)),
    Case(promote, ("stream:slow", "stream:default")),
    Case(replay, ("stream:slow", "job:a"), ("result:a",)),
    Case(settle, ("cancelled",), ("job:a", "inbox:me", "result:a")),
    Case(settle_shortly, ("cancelled",), ("job:a", "inbox:me", "result:a")),
    Case(settle_dead, ("dead", "cancelled"), ("job:a", "inbox:me", "result:a")),
    Case(cancel_delayed, ("control", "cancelled"), ("inbox:me", "result:a")),
    Case(cancel_parked, ("control", "cancelled", "parked"), ("inbox:me", "result:a")),
    Case(cancel_queued, ("control", "cancelled"), ("job:a", "inbox:me", "result:a")),
    Case(cancel_running, ("control", "cancelled"), ("job:a", "inbox:me", "result:a")),
]


def ids(case: tuple[object, str]) -> str:
    """What pytest calls a case."""
    put, key = case
    return f"{getattr(put, '__name__', '')}-{key}"


async def spoil(store: Store, key: str) -> None:
    """Put something else in the place of a key."""
    full = store.keys.prefix + key
    await store.call("DEL", full)
    if key.startswith("result:"):
        await store.call("HSET", full, "field", "value")
    else:
        await store.call("SET", full, "?")


def raises_about(store: Store, key: str) -> AbstractContextManager[object]:
    """Expect an error that names a key."""
    return pytest.raises(CommandError, match=rf"key {re.escape(store.keys.prefix + key)}\b")


async def repair(store: Store, key: str) -> None:
    """Delete what was put there, as an operator would who has seen the log."""
    await store.call("DEL", store.keys.prefix + key)
    await store.queue.create_groups(store.link)


async def ids_in(store: Store, key: str, start: str = "-", end: str = "+") -> set[str]:
    """The jobs in part of a stream."""
    reply = await store.call("XRANGE", key, start, end)
    entries = cast("list[tuple[bytes, list[bytes]]]", reply)
    return {flat[flat.index(b"id") + 1].decode() for _, flat in entries}


async def in_stream(store: Store, key: str) -> set[str]:
    """The jobs in a stream that a worker has, or will be sent: not what was acknowledged."""
    groups = cast("list[list[bytes]]", await store.call("XINFO", "GROUPS", key))
    last = next(bytes(group[group.index(b"last-delivered-id") + 1]).decode() for group in groups)
    found = await ids_in(store, key, f"({last}")
    rows = cast("list[list[bytes]]", await store.call("XPENDING", key, GROUP, "-", "+", 100))
    for entry, *_ in rows:
        found |= await ids_in(store, key, entry.decode(), entry.decode())
    return found


async def accounted_for(store: Store) -> set[str]:
    """The jobs that will be run, or are kept, or have ended."""
    found: set[str] = set()
    for name in await store.key_names():
        key = store.keys.prefix + name
        kind = cast("bytes", await store.call("TYPE", key))
        if kind == b"stream" and name.startswith("stream:"):
            found |= await in_stream(store, key)
        elif kind == b"stream" and name.startswith(("parked:", "dead")):
            found |= await ids_in(store, key)
        elif kind == b"zset" and name == "delayed":
            members = cast("list[bytes]", await store.call("ZRANGE", key, 0, -1))
            kept = [id_ for id_ in members if await store.call("HEXISTS", job(store, id_), "p")]
            found |= {id_.decode() for id_ in kept}
        elif kind == b"string" and name.startswith("result:"):
            found.add(name.removeprefix("result:"))
    return found


def job(store: Store, job_id: bytes) -> str:
    """The key of a job."""
    return store.keys.job(job_id.decode())


@pytest.mark.parametrize("case", [(c.put, key) for c in CASES for key in c.raises], ids=ids)
async def test_step_raises_and_loses_nothing_if_its_key_is_foreign(
    store: Store, case: tuple[Callable[[Store], Awaitable[Act]], str]
) -> None:
    """Nothing is lost by it, and when the key is deleted the same call does all it should."""
    put, key = case
    act = await put(store)
    before = await accounted_for(store)
    await spoil(store, key)
    with raises_about(store, key):
        await act()
    assert await accounted_for(store) >= before
    await repair(store, key)
    await act()
    assert await accounted_for(store) == {"a", "b"}


@pytest.mark.parametrize("case", [(c.put, key) for c in CASES for key in c.passes], ids=ids)
async def test_step_does_without_a_foreign_key(
    store: Store, case: tuple[Callable[[Store], Awaitable[Act]], str]
) -> None:
    """It does without the key, for this job and for those beside it, and nothing is lost."""
    put, key = case
    act = await put(store)
    await spoil(store, key)
    await act()
    assert await accounted_for(store) == {"a", "b"}


async def test_settled_in_a_foreign_stream(store: Store) -> None:
    """What ran in it waits until that is deleted and has ended then; the others have at once."""
    await store.enqueue("a")
    await store.enqueue("b", lane="slow", mark=WaiterMode.CALLER)
    deliveries = await store.read()
    await spoil(store, "stream:default")
    with raises_about(store, "stream:default"):
        await store.settle(*deliveries)
    assert len(await store.list_at(store.keys.inbox("me"))) == 1
    assert await store.stream_at(store.keys.stream("slow")) == []
    await repair(store, "stream:default")
    assert await store.settle(*deliveries) == []
    assert await store.key_names() >= {"result:a", "result:b"}


async def test_dead_letters_stop_no_other(store: Store) -> None:
    """Where none can be kept, those wait that need one, and the others have ended."""
    act = await settle_dead(store)
    await spoil(store, "dead")
    with raises_about(store, "dead"):
        await act()
    assert await store.call("EXISTS", store.keys.result("a")) == 0
    assert await store.call("EXISTS", store.keys.result("b")) == 1


@pytest.mark.parametrize("key", ["stream:slow", "job:a"])
async def test_damaged_key_stops_no_other_promotion(store: Store, key: str) -> None:
    """The other job is promoted. The damaged one stays and does not stand before others."""
    act = await promote(store)
    await spoil(store, key)
    with raises_about(store, key):
        await act()
    assert await in_stream(store, store.keys.stream("default")) == {"b"}
    assert await store.call("ZCARD", store.keys.delayed) == 1
    moved, wait = cast("tuple[int, float]", await act())
    assert moved == 0
    assert 30 < wait <= 60


async def test_delayed_job_without_hash_is_forgotten(store: Store) -> None:
    """If the hash of a job was deleted, nothing is left of the job."""
    act = await promote(store)
    await store.call("DEL", store.keys.job("a"))
    assert await act() == (2, None)
    assert [d.job_id for d in await store.read()] == ["b"]


async def test_dead_workers_stream_stops_no_other(store: Store) -> None:
    """What it had of other lanes is recovered."""
    await WorkerRegistry(store.queue).join("w1", 1_000)
    await store.enqueue("a", lane="slow")
    await store.read()
    await spoil(store, "stream:default")
    with raises_about(store, "stream:default"):
        await WorkerRegistry(store.queue).recover("w1", "0 1000", 3)
    assert await in_stream(store, store.queue.streams[0]) == {"a"}


async def test_awaited_beside_it(store: Store) -> None:
    """Of a job that was overwritten nothing is known; others can be waited for."""
    await store.enqueue("a", "b", "c")
    await spoil(store, "job:a")
    await spoil(store, "result:b")
    found = await store.results.subscribe("me", ["a", "b", "c"])
    assert found == [Subscription.UNKNOWN, Subscription.WILL_TELL, Subscription.WILL_TELL]
