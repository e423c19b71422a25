from typing import cast

from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.link import Reply
from tests.support.store import Store

REASON = encode_unreadable(0, "not a job")


async def put_nonsense(store: Store, *fields: str) -> Reply:
    """Add an entry that is no job, as a stranger may."""
    return await store.call("XADD", store.keys.stream("default"), "*", *fields)


async def test_what_is_no_job(store: Store) -> None:
    """A read tells it apart, and what is read with it is not lost."""
    entry = await put_nonsense(store, "hello", "world")
    await store.enqueue("a")
    read = await store.broker.read(store.link, "w1", 10, None)
    assert read.unreadable == [(store.broker.place_of("default"), entry)]
    assert [d.job_id for d in read.deliveries] == ["a"]


async def test_moved_with_its_reason(store: Store) -> None:
    """The entry goes to the dead letters as it was, with where it came from and why."""
    entry = cast("bytes", await put_nonsense(store, "hello", "world"))
    read = await store.broker.read(store.link, "w1", 10, None)
    assert await store.broker.bury(read.unreadable, REASON, "w1") == 1
    assert await store.stream_at(store.keys.dead) == [
        {
            "outcome": REASON.decode(),
            "worker": "w1",
            "stream": store.keys.stream("default"),
            "entry": entry.decode(),
            "hello": "world",
        }
    ]
    assert await store.pending() == 0
    assert await store.stream_at(store.keys.stream("default")) == []


async def test_repeated(store: Store) -> None:
    """Burying again makes no second letter."""
    await put_nonsense(store, "hello", "world")
    read = await store.broker.read(store.link, "w1", 10, None)
    await store.broker.bury(read.unreadable, REASON, "w1")
    assert await store.broker.bury(read.unreadable, REASON, "w1") == 0
    assert len(await store.stream_at(store.keys.dead)) == 1


async def test_what_nobody_has(store: Store) -> None:
    """An entry that was not delivered stays where it is."""
    await store.enqueue("a")
    (fields,) = await store.stream_at(store.keys.stream("default"))
    assert fields["id"] == "a"
    assert await store.broker.bury([(store.broker.place_of("default"), b"1-1")], REASON, "w1") == 0
    assert len(await store.read()) == 1


async def test_deleted_while_pending(store: Store) -> None:
    """What was deleted under a worker is read as nothing and let go of."""
    (delivery,) = [await store.deliver("a")]
    await store.call("XDEL", store.keys.stream("default"), delivery.entry)
    read = await store.broker.read_own(store.link, "w1", 10)
    assert read.deliveries == []
    assert [entry for _, entry in read.unreadable] == [delivery.entry]
    assert await store.broker.bury(read.unreadable, REASON, "w1") == 0
    assert await store.pending() == 0
