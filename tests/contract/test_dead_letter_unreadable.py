"""An entry that no worker can read becomes a dead letter."""

from typing import cast

import orjson

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.connection.link import Reply
from tests.support.ends import recent, states
from tests.support.store import Store

REASON = encode_unreadable("not a job")


async def put_nonsense(store: Store, *fields: str) -> Reply:
    """Add an entry that is no job, as a stranger may."""
    return await store.call("XADD", store.keys.stream("default"), "*", *fields)


async def test_what_is_no_job(store: Store) -> None:
    """A read tells it apart, and what is read with it is not lost."""
    entry = await put_nonsense(store, "hello", "world")
    await store.enqueue("a")
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert read.unreadable == [(store.queue.place_of("default"), entry)]
    assert [d.job_id for d in read.deliveries] == ["a"]


async def test_moved_with_its_reason(store: Store) -> None:
    """The entry goes to the dead letters as it was, with where it came from and why."""
    entry = cast("bytes", await put_nonsense(store, "hello", "world"))
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert await store.deliveries.dead_letter_unreadable(read.unreadable, REASON, "w1") == 1
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
    read = await store.deliveries.read(store.link, "w1", 10, None)
    await store.deliveries.dead_letter_unreadable(read.unreadable, REASON, "w1")
    assert await store.deliveries.dead_letter_unreadable(read.unreadable, REASON, "w1") == 0
    assert len(await store.stream_at(store.keys.dead)) == 1


async def test_undelivered_entry_stays(store: Store) -> None:
    """An entry that was not delivered stays where it is."""
    await store.enqueue("a")
    (fields,) = await store.stream_at(store.keys.stream("default"))
    assert fields["id"] == "a"
    assert (
        await store.deliveries.dead_letter_unreadable(
            [(store.queue.place_of("default"), b"1-1")], REASON, "w1"
        )
        == 0
    )
    assert len(await store.read()) == 1


async def test_deleted_while_pending(store: Store) -> None:
    """What was deleted under a worker is read as nothing and let go of."""
    (delivery,) = [await store.deliver("a")]
    await store.call("XDEL", store.keys.stream("default"), delivery.entry)
    read = await store.deliveries.read_own(store.link, "w1", 10)
    assert read.deliveries == []
    assert [entry for _, entry in read.unreadable] == [delivery.entry]
    assert await store.deliveries.dead_letter_unreadable(read.unreadable, REASON, "w1") == 0
    assert await store.pending() == 0


async def test_real_job(store: Store) -> None:
    """A job that nobody can read ends as dead: it is no secret, and nobody waits for ever."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    assert (
        await store.deliveries.dead_letter_unreadable(
            [(delivery.stream, delivery.entry)], encode_unreadable("why"), "w1"
        )
        == 1
    )
    told = await store.results.job_state("a")
    assert told is not None
    assert orjson.loads(told)["state"] == "dead"
    assert orjson.loads(told)["error"]["message"] == "why"
    assert await store.list_at(store.keys.inbox("me")) == [b"a " + told]
    assert await states(store) == {("size", "dead"): 1}
    assert await recent(store) == [("a", "size", JobState.DEAD, None)]
    assert await store.settle(delivery) == [delivery], "it came too late"
    assert store.keys.job("a").removeprefix(store.keys.prefix) not in await store.key_names()


async def test_id_of_another(store: Store) -> None:
    """What a stranger wrote under the id of a job is no word on that job."""
    delivery = await store.deliver("a")
    await put_nonsense(store, "id", "a", "n", "1", "job", "garbage")
    (forged,) = await store.read()
    assert (
        await store.deliveries.dead_letter_unreadable([(forged.stream, forged.entry)], REASON, "w1")
        == 1
    )
    assert await store.results.job_state("a") == b"running"
    assert await states(store) == {}
    assert await store.settle(delivery) == []


async def test_very_many_fields(store: Store) -> None:
    """An entry of more values than Lua can hand on is cut, not left to stop every worker."""
    await put_nonsense(store, *map(str, range(20_000)))
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert await store.deliveries.dead_letter_unreadable(read.unreadable, REASON, "w1") == 1
    (letter,) = await store.stream_at(store.keys.dead)
    assert letter["0"] == "1"
    assert await store.pending() == 0
