"""append_events.lua: what running jobs say."""

from __future__ import annotations

from typing import cast

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.model.job_events import Emission
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.job_events import EventStreams
from tests.support.store import HOUR_MS, Store


def said(delivery: Delivery, last: int, events: bytes = b"[[1]]", floor: int = 0) -> Emission:
    """Make what `emit` takes."""
    return Emission(delivery, last, floor, HOUR_MS, "size", events)


async def ids(store: Store, job_id: str = "a") -> list[str]:
    """Return the ids of the entries of a job's events."""
    reply = await store.call("XRANGE", store.keys.events(job_id), "-", "+")
    return [entry.decode() for entry, _ in cast("list[tuple[bytes, object]]", reply)]


@pytest.fixture
def streams(store: Store) -> EventStreams:
    """What writes and reads events."""
    return EventStreams(store.queue)


async def test_events_of_a_call_are_one_entry(store: Store, streams: EventStreams) -> None:
    """One entry holds what was said at once; its id says whose it is and where it ends."""
    delivery = await store.deliver("a")
    assert await streams.emit([said(delivery, 3, b"[[1],[2],[3]]")]) == []
    assert await ids(store) == ["1-3"]
    assert await store.stream_at(store.keys.events("a")) == [{"t": "size", "e": "[[1],[2],[3]]"}]
    assert HOUR_MS - 60_000 < await store.pttl(store.keys.events("a")) <= HOUR_MS


async def test_repeated(store: Store, streams: EventStreams) -> None:
    """The same said again, after a lost reply, is there once; so is what followed it."""
    delivery = await store.deliver("a")
    first, second = said(delivery, 1), said(delivery, 2)
    for emission in (first, first, second, first, second):
        assert await streams.emit([emission]) == []
    assert await ids(store) == ["1-1", "1-2"]


async def test_many_jobs_at_once(store: Store, streams: EventStreams) -> None:
    """Each has a stream of its own, and one that is refused keeps the others from nothing."""
    await store.enqueue("a", "b", "c")
    a, b, c = await store.read()
    await store.settle(b)
    assert await streams.emit([said(a, 1), said(b, 1), said(c, 1)]) == [1]
    assert (await ids(store, "a"), await ids(store, "c")) == (["1-1"], ["1-1"])


async def test_ended_job(store: Store, streams: EventStreams) -> None:
    """Nothing is said after the end, and no key is left that nobody would expect."""
    for keep_ms in (HOUR_MS, 0):
        job_id = f"kept-{keep_ms}"
        delivery = await store.deliver(job_id)
        await store.settle(delivery, keep_ms=keep_ms)
        assert await streams.emit([said(delivery, 1)]) == [0]
        assert f"events:{job_id}" not in await store.key_names()


async def test_events_of_a_lost_job_are_refused(store: Store, streams: EventStreams) -> None:
    """Whoever has lost the job is refused from that moment on, not from its next event."""
    old = await store.deliver("a", "w1")
    assert await streams.emit([said(old, 1)]) == []
    await store.deliveries.requeue([old])
    assert await streams.emit([said(old, 2)]) == [0]
    (new,) = await store.read("w2")
    assert await streams.emit([said(old, 2)]) == [0]
    assert await streams.emit([said(new, 1)]) == []
    assert await streams.emit([said(old, 2)]) == [0]
    assert await ids(store) == ["2-1"]


async def test_entry_of_the_same_id_in_another_lane(store: Store, streams: EventStreams) -> None:
    """The entry that a job names is one of one stream."""
    delivery = await store.deliver("a")
    stranger = delivery._replace(stream=store.queue.place_of("slow"))
    assert await streams.emit([said(stranger, 1)]) == [0]


async def test_bound(store: Store, streams: EventStreams) -> None:
    """What lies before the floor is dropped."""
    delivery = await store.deliver("a")
    for last in range(1, 31):
        await streams.emit([said(delivery, last, floor=max(0, last - 9))])
    assert await ids(store) == [f"1-{last}" for last in range(21, 31)]


async def test_time_alone(store: Store, streams: EventStreams) -> None:
    """Without events only the time is set, and where nothing was said nothing comes to be."""
    delivery = await store.deliver("a")
    assert await streams.emit([said(delivery, 0, b"")]) == []
    assert "events:a" not in await store.key_names()
    await streams.emit([said(delivery, 1)])
    await streams.emit([said(delivery, 1, b"")._replace(keep_ms=5_000)])
    assert await ids(store) == ["1-1"]
    assert 0 < await store.pttl(store.keys.events("a")) <= 5_000


async def test_foreign_key_costs_one_job_its_events(store: Store, streams: EventStreams) -> None:
    """A key of another type costs its job its events, and no other job."""
    await store.enqueue("a", "b")
    a, b = await store.read()
    await store.call("SET", store.keys.events("a"), "x", "PX", 60_000)
    assert await streams.emit([said(a, 1), said(b, 1)]) == [0]
    assert await ids(store, "b") == ["1-1"]


async def test_reading_on(store: Store, streams: EventStreams) -> None:
    """Both ways of reading continue after an entry, and give what it holds."""
    delivery = await store.deliver("a")
    for last in range(1, 6):
        await streams.emit([said(delivery, last)])
    found = await streams.after("a", (1, 2), 2)
    assert [entry.place for entry in found] == [(1, 3), (1, 4)]
    assert (found[0].task, found[0].events) == ("size", b"[[1]]")
    waited = await streams.wait(store.link, {"a": (1, 3), "b": (0, 0)}, 10, 5_000)
    assert {job: [e.place for e in entries] for job, entries in waited.items()} == {
        "a": [(1, 4), (1, 5)]
    }
    assert await streams.wait(store.link, {"a": (1, 5)}, 10, 10) == {}


async def test_redis_is_full(redis_url: str) -> None:
    """It is refused with Redis's own error, and passes when there is room."""
    async with Store(redis_url) as store:
        streams = EventStreams(store.queue)
        delivery = await store.deliver("a")
        await store.call("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(CommandError, match="OOM"):
                await streams.emit([said(delivery, 1)])
        finally:
            await store.call("CONFIG", "SET", "maxmemory", "0")
        assert await streams.emit([said(delivery, 1)]) == []
