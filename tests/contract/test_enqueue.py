"""Enqueuing adds a stream entry and a job hash, once for each id."""

import pytest

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.store.deliveries import ID_MS
from aiostreamq.store.enqueue import ENQUEUE_LIMIT
from tests.support.store import DEADLINE, ENVELOPE, Store


async def test_what_is_stored(store: Store) -> None:
    """An entry in the stream of its lane, and a hash that knows where it is."""
    assert await store.enqueue("a", lane="slow") == set()
    assert await store.stream_at(store.keys.stream("slow")) == [
        {"id": "a", "n": "1", "job": ENVELOPE.decode()}
    ]
    job = await store.hash_at(store.keys.job("a"))
    assert job.pop("e")
    assert job == {"s": "slow"}


async def test_order(store: Store) -> None:
    """Jobs are read in the order in which they came."""
    ids = [f"j{number}" for number in range(ENQUEUE_LIMIT)]
    await store.enqueue(*ids)
    assert [d.job_id for d in await store.read(count=1000)] == ids


@pytest.mark.parametrize(
    ("mark", "noted"),
    [(WaiterMode.NOBODY, {}), (WaiterMode.CALLER, {"w": "me"}), (WaiterMode.NO_RESULT, {"k": "0"})],
)
async def test_marks(store: Store, mark: str, noted: dict[str, str]) -> None:
    """What is known of who waits is noted with the job."""
    await store.enqueue("a", mark=mark)
    job = await store.hash_at(store.keys.job("a"))
    assert {name: job[name] for name in job if name not in "es"} == noted


async def test_repeated(store: Store) -> None:
    """A call that is repeated after a lost reply makes nothing twice."""
    await store.enqueue("a", "b")
    assert await store.enqueue("a", "b") == {0, 1}
    assert await store.enqueue("c", "a", "d") == {1}
    assert [d.job_id for d in await store.read()] == ["a", "b", "c", "d"]


async def test_twice_in_one_call(store: Store) -> None:
    """The first of an id is taken, the second meets it."""
    assert await store.enqueue("a", "a") == {1}
    assert len(await store.read()) == 1


async def test_the_first_is_left_as_it_is(store: Store) -> None:
    """An id that is taken changes neither lane nor payload nor marks."""
    await store.enqueue("a", mark=WaiterMode.CALLER, inbox="first")
    before = await store.hash_at(store.keys.job("a"))
    again = ("a", store.queue.place_of("slow"), WaiterMode.NO_RESULT, b"other")
    assert await store.submissions.enqueue([again], "second", DEADLINE) == {0}
    assert await store.hash_at(store.keys.job("a")) == before
    assert await store.stream_at(store.keys.stream("slow")) == []


async def test_while_it_runs(store: Store) -> None:
    """The id of a job that a worker has is taken."""
    await store.deliver("a")
    assert await store.enqueue("a") == {0}


@pytest.mark.parametrize("keep_ms", [3_600_000, ID_MS, 5_000, 0])
async def test_after_its_end(store: Store, keep_ms: int) -> None:
    """The id stays taken at least as long as a lost reply can be repeated."""
    await store.settle(await store.deliver("a"), keep_ms=keep_ms)
    assert await store.enqueue("a") == {0}
    left = max(await store.pttl(store.keys.job("a")), await store.pttl(store.keys.result("a")))
    assert max(keep_ms, ID_MS) - 5_000 < left <= max(keep_ms, ID_MS)


async def test_after_all_is_forgotten(store: Store) -> None:
    """Then the id is free again."""
    await store.settle(await store.deliver("a"))
    await store.call("DEL", store.keys.result("a"))
    assert await store.enqueue("a") == set()
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_bytes(store: Store) -> None:
    """Ids and payloads of any characters come back as they were."""
    payload = '{"v":1,"task":"größe","args":["\\u0000\\n 漢 🎉"]}'.encode()
    await store.enqueue("größe-漢", envelope=payload)
    (delivery,) = await store.read()
    assert (delivery.job_id, delivery.envelope) == ("größe-漢", payload)
    assert (delivery.number, delivery.stream) == (1, store.queue.place_of("default"))
