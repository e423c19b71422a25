"""What is paused, as Redis knows it."""

import pytest

from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.pauses import PauseStore
from tests.support.store import Store


@pytest.fixture
def pauses(store: Store) -> PauseStore:
    """What says so."""
    return PauseStore(store.queue)


async def test_paused_and_resumed(pauses: PauseStore) -> None:
    """What is said last holds; repeated, as after a lost reply, it changes nothing."""
    assert (await pauses.paused())[1] == {}
    assert await pauses.pause(["task:a", "lane:slow"], "0") == 2
    assert await pauses.pause(["task:a"], "0") == 0
    assert (await pauses.paused())[1] == {"task:a": 0, "lane:slow": 0}
    assert await pauses.pause(["task:a"], "99999999999999") == 0
    assert (await pauses.paused())[1]["task:a"] == 99999999999999
    assert await pauses.resume(["task:a", "task:b"]) == 1
    assert await pauses.resume(["task:a", "task:b"]) == 0
    assert (await pauses.paused())[1] == {"lane:slow": 0}
    await pauses.resume(["lane:slow"])


async def test_until(store: Store, pauses: PauseStore) -> None:
    """A time from now is counted by Redis's clock; what has passed is forgotten, and told once."""
    await pauses.pause(["task:a"], "+60000")
    now_ms, told = await pauses.paused()
    assert 0 < told["task:a"] - now_ms <= 60_000
    await pauses.pause(["task:a"], "1000")
    end = await ControlStream(store.queue).end()
    assert (await pauses.paused())[1] == {}
    assert (await pauses.paused())[1] == {}
    assert await store.call("EXISTS", store.keys.paused) == 0
    _, words = await ControlStream(store.queue).listen(store.link, end, 1000)
    assert words == [{"say": "pause"}]


async def test_looked_at(store: Store, pauses: PauseStore) -> None:
    """Who only looks sees what holds, and leaves what has passed for others to end."""
    lookout = Snapshots(store.queue)
    assert await lookout.paused() == {}
    await pauses.pause(["task:a"], "0")
    await pauses.pause(["lane:slow"], "99999999999999")
    await pauses.pause(["task:b"], "1000")
    await store.call("HSET", store.keys.paused, "x", "0", "task:c", "never", b"\xff", "1")
    before = await store.call("HLEN", store.keys.paused)
    assert await lookout.paused() == {"task:a": 0, "lane:slow": 99999999999999}
    assert await store.call("HLEN", store.keys.paused) == before


async def test_workers_are_told(store: Store, pauses: PauseStore) -> None:
    """Each change is said to all; also one that was none, as its word may have been missed."""
    end = await ControlStream(store.queue).end()
    await pauses.pause(["task:a"], "0")
    await pauses.resume(["task:a"])
    await pauses.resume(["task:a"])
    _, words = await ControlStream(store.queue).listen(store.link, end, 1000)
    assert words == [{"say": "pause"}] * 3


async def test_what_strangers_write(store: Store, pauses: PauseStore) -> None:
    """It is left out."""
    await store.call("HSET", store.keys.paused, "x", "0", "task:a", "never", b"\xff", "1")
    assert (await pauses.paused())[1] == {}


@pytest.mark.parametrize("lanes", [{"default": 1}, {"default": 3, "slow": 1}])
async def test_reads_know(store: Store, pauses: PauseStore, lanes: dict[str, int]) -> None:
    """A read says what was paused when it was delivered, before any word of it has come."""
    intake = LaneReader(store.queue, lanes, strict=False)
    await store.enqueue("a", "b")
    assert (await intake.read(store.link, "w1", 1, None)).paused == {}
    await pauses.pause(["lane:default"], "0")
    await pauses.pause(["task:old"], "1000")
    read = await intake.read(store.link, "w1", 1, None)
    assert [one.job_id for one in read.deliveries] == ["b"]
    assert read.paused == {"lane:default": 0}


@pytest.mark.parametrize("block_ms", [None, 20])
async def test_lanes_left_out(store: Store, block_ms: int | None) -> None:
    """Only some lanes are read, or none, but always what was returned; later all again."""
    intake = LaneReader(store.queue, {"default": 3, "slow": 1}, strict=False)
    await store.enqueue("a")
    await store.enqueue("b", lane="slow")

    async def read() -> list[str]:
        found = await intake.read(store.link, "w1", 10, block_ms)
        await store.deliveries.requeue(
            [one for one in found.deliveries if one.job_id == "b" and one.number == 1]
        )
        return [one.job_id for one in found.deliveries]

    intake.read_only([])
    assert await read() == []
    intake.read_only(["slow"])
    assert await read() == ["b"]
    intake.read_only([])
    assert await read() == ["b"]
    intake.read_only(["slow", "default"])
    assert await read() == ["a"]
