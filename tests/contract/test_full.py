"""Redis has no memory left: producers are told, and what was taken can still be ended."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import BrokerError
from aiostreamq.model.delivery import RetryRequest, Settlement, WaiterMode
from aiostreamq.model.job_state import JobState
from aiostreamq.model.metadata import HeldKey
from aiostreamq.model.outcome import (
    encode_ended,
)
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Span
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.results import Subscription
from aiostreamq.store.schedules import ScheduleStore, Tick
from aiostreamq.store.workers import WorkerRegistry
from tests.support.redis_server import RedisServer
from tests.support.store import HOUR_MS, Store, outcome_of


@pytest.fixture
async def full(own_redis_server: RedisServer) -> AsyncIterator[tuple[Store, RedisServer]]:
    """A store and its server, to be filled up."""
    async with Store(own_redis_server.url) as store:
        yield store, own_redis_server


async def test_enqueue(full: tuple[Store, RedisServer]) -> None:
    """It is refused at once with whose business it is, and leaves nothing behind."""
    store, server = full
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerError, match=r"Redis is full.*try later.*OOM"):
        await store.enqueue("a", "b")
    assert "job:a" not in await store.key_names()


async def test_settle(full: tuple[Store, RedisServer]) -> None:
    """What runs gets to its end: results are kept and waiters told."""
    store, server = full
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.settle(delivery) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(delivery)
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


async def test_hand_back(full: tuple[Store, RedisServer]) -> None:
    """A worker that stops can give back what it has."""
    store, server = full
    delivery = await store.deliver("a")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.deliveries.requeue([delivery]) == 1


async def test_delay(full: tuple[Store, RedisServer]) -> None:
    """A new job is refused for later as it is for now."""
    store, server = full
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerError, match="Redis is full"):
        await DelayedJobs(store.queue).delay(
            [("a", "default", WaiterMode.NOBODY, "1", b"{}")], "me", 5
        )


async def test_tick_of_a_schedule(full: tuple[Store, RedisServer]) -> None:
    """It is refused as new jobs are, before anyone cancels the job that it is to replace."""
    store, server = full
    table = ScheduleStore(store.queue)
    await table.put("s", b"{}", 5000, 5, replace=False)
    for at, overlap in ((5000, "allow"), (6000, "cancel_old")):
        [due] = (await table.due(())).due
        new = Tick(
            "s", due.rev, due.at, None, at + 1000, at, f"s@{at}", "default", "0", 0, overlap, 0,
            b"{}",
        )  # fmt: skip
        if overlap == "allow":
            assert await table.fire([new]) == [1]
        else:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(BrokerError, match="Redis is full"):
                await table.fire([new])


async def test_retry(full: tuple[Store, RedisServer]) -> None:
    """A job that is to run again does, at once or later."""
    store, server = full
    schedule = DelayedJobs(store.queue)
    await store.enqueue("a", "b")
    a, b = await store.read()
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await schedule.retry([RetryRequest(a, 0), RetryRequest(b, 1)]) == []
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_what_is_due(full: tuple[Store, RedisServer]) -> None:
    """It is promoted: if all memory is taken by jobs for later, only that gets it free."""
    store, server = full
    schedule = DelayedJobs(store.queue)
    await schedule.delay([("a", "default", WaiterMode.NOBODY, "1", b"{}")], "me", 5)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert (await schedule.promote())[0] == 1
    assert [d.job_id for d in await store.read()] == ["a"]


@pytest.mark.parametrize("end", ["none", "by a worker", "entry deleted", "forgotten"])
async def test_job_that_waits_for_its_key(full: tuple[Store, RedisServer], end: str) -> None:
    """It is promoted when its key is free, and waits on while it is not."""
    store, server = full
    await store.enqueue_unique("k", "a", "b", rule="latest return")
    [first] = await store.read()
    key = HeldKey("k", is_freed_at_start=False)
    settlement = Settlement(first, HOUR_MS, outcome_of(first), key=key)
    if end == "entry deleted":
        await store.call("XDEL", store.keys.stream("default"), first.entry)
    elif end == "forgotten":
        await store.call("DEL", store.keys.job("a"))
    if end != "by a worker":
        await store.call("ZADD", store.keys.delayed, "XX", 1000, "b")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    if end == "by a worker":
        await store.deliveries.settle([settlement], "w1")
    is_free = end in {"by a worker", "forgotten"}
    assert (await store.delayed.promote())[0] == is_free
    assert [one.job_id for one in await store.read()] == ["b"] * is_free


async def test_parked_jobs(full: tuple[Store, RedisServer]) -> None:
    """They are set aside, and released."""
    store, server = full
    delivery = await store.deliver("a")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await store.parking.park([(delivery, "t")]) == 1
    assert await store.parking.unpark(["t"]) == 1
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_start(full: tuple[Store, RedisServer]) -> None:
    """A worker can come, to help to get memory free."""
    store, server = full
    await store.enqueue("a")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    async with Store(server.url) as other:
        await WorkerRegistry(other.queue).join("w2", 1_000)
        assert [d.job_id for d in await other.read("w2")] == ["a"]


async def test_beat(full: tuple[Store, RedisServer]) -> None:
    """Who lives can show it: else all would look dead when memory is free again."""
    store, server = full
    roster = WorkerRegistry(store.queue)
    await roster.join("w1", 1_000)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await roster.renew("w1", 1_000)
    assert (await store.hash_at(store.keys.workers))["w1"] == "1 1000"


async def test_dead_worker(full: tuple[Store, RedisServer]) -> None:
    """Its jobs are given to the living; on Redis 6.2 only when there is memory again."""
    store, server = full
    roster = WorkerRegistry(store.queue)
    await roster.join("w1", 1_000)
    await store.deliver("a", "w1")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    if not (await store.queue.open()).takes_script_flags:
        with pytest.raises(BrokerError, match="Redis is full"):
            await roster.recover("w1", "0 1000", 3)
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert (await roster.recover("w1", "0 1000", 3)).returned == 1
    assert [d.job_id for d in await store.read("w2")] == ["a"]


async def test_subscribe(full: tuple[Store, RedisServer]) -> None:
    """A job can be awaited; on Redis 6.2 only when there is memory again."""
    store, server = full
    await store.enqueue("a")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    if not (await store.queue.open()).takes_script_flags:
        with pytest.raises(BrokerError, match="Redis is full"):
            await store.results.subscribe("me", ["a"])
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert await store.results.subscribe("me", ["a"]) == [Subscription.WILL_TELL]


async def test_dead_letters(full: tuple[Store, RedisServer]) -> None:
    """A replay is refused as a new job is, and changes nothing; a purge frees memory."""
    store, server = full
    graveyard = DeadLetterStore(store.queue)
    delivery = await store.deliver("a")
    failed = encode_ended("size", 1, JobState.FAILED)
    await store.deliveries.settle([Settlement(delivery, HOUR_MS, failed, is_dead=True)], "w1")
    [[letter]] = [page async for page in graveyard.oldest_first(Span())]
    place = store.queue.place_of("default")
    revival = Replay(letter.id, "a", place, WaiterMode.NOBODY, letter.envelope, b"[]")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerError, match="Redis is full"):
        await graveyard.replay([revival])
    assert await graveyard.find(letter.id) == letter
    assert await store.results.job_state("a") == failed
    assert await graveyard.purge([letter.id]) == 1


async def test_restore(full: tuple[Store, RedisServer]) -> None:
    """A job whose stream was deleted beneath its worker is kept."""
    store, server = full
    delivery = await store.deliver("a")
    await store.call("DEL", store.keys.stream("default"))
    server.ask("CONFIG", "SET", "maxmemory", "1")
    assert await DelayedJobs(store.queue).retry([RetryRequest(delivery, 1)]) == []
    assert await store.results.job_state("a") == b"delayed"
