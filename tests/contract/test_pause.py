"""What is paused, as Redis knows it."""

import pytest

from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.lane_reader import LaneReader
from tests.support.store import Store


@pytest.fixture
def steering(store: Store) -> Cancellation:
    """What says so."""
    return Cancellation(store.broker)


async def test_paused_and_resumed(steering: Cancellation) -> None:
    """What is said last holds; repeated, as after a lost reply, it changes nothing."""
    assert (await steering.paused())[1] == {}
    assert await steering.pause(["task:a", "lane:slow"], "0") == 2
    assert await steering.pause(["task:a"], "0") == 0
    assert (await steering.paused())[1] == {"task:a": 0, "lane:slow": 0}
    assert await steering.pause(["task:a"], "99999999999999") == 0
    assert (await steering.paused())[1]["task:a"] == 99999999999999
    assert await steering.resume(["task:a", "task:b"]) == 1
    assert await steering.resume(["task:a", "task:b"]) == 0
    assert (await steering.paused())[1] == {"lane:slow": 0}
    await steering.resume(["lane:slow"])


async def test_until(store: Store, steering: Cancellation) -> None:
    """A time from now is counted by Redis's clock; what has passed is forgotten, and told once."""
    await steering.pause(["task:a"], "+60000")
    now_ms, told = await steering.paused()
    assert 0 < told["task:a"] - now_ms <= 60_000
    await steering.pause(["task:a"], "1000")
    end = await ControlStream(store.broker).end()
    assert (await steering.paused())[1] == {}
    assert (await steering.paused())[1] == {}
    assert await store.call("EXISTS", store.keys.paused) == 0
    _, words = await ControlStream(store.broker).listen(store.link, end, 1000)
    assert words == [{"say": "pause"}]


async def test_looked_at(store: Store, steering: Cancellation) -> None:
    """Who only looks sees what holds, and leaves what has passed for others to end."""
    lookout = Snapshots(store.broker)
    assert await lookout.paused() == {}
    await steering.pause(["task:a"], "0")
    await steering.pause(["lane:slow"], "99999999999999")
    await steering.pause(["task:b"], "1000")
    await store.call("HSET", store.keys.paused, "x", "0", "task:c", "never", b"\xff", "1")
    before = await store.call("HLEN", store.keys.paused)
    assert await lookout.paused() == {"task:a": 0, "lane:slow": 99999999999999}
    assert await store.call("HLEN", store.keys.paused) == before


async def test_workers_are_told(store: Store, steering: Cancellation) -> None:
    """Each change is said to all; also one that was none, as its word may have been missed."""
    end = await ControlStream(store.broker).end()
    await steering.pause(["task:a"], "0")
    await steering.resume(["task:a"])
    await steering.resume(["task:a"])
    _, words = await ControlStream(store.broker).listen(store.link, end, 1000)
    assert words == [{"say": "pause"}] * 3


async def test_what_strangers_write(store: Store, steering: Cancellation) -> None:
    """It is left out."""
    await store.call("HSET", store.keys.paused, "x", "0", "task:a", "never", b"\xff", "1")
    assert (await steering.paused())[1] == {}


@pytest.mark.parametrize("lanes", [{"default": 1}, {"default": 3, "slow": 1}])
async def test_reads_know(store: Store, steering: Cancellation, lanes: dict[str, int]) -> None:
    """A read says what was paused when it was delivered, before any word of it has come."""
    intake = LaneReader(store.broker, lanes, strict=False)
    await store.enqueue("a", "b")
    assert (await intake.read(store.link, "w1", 1, None)).paused == {}
    await steering.pause(["lane:default"], "0")
    await steering.pause(["task:old"], "1000")
    read = await intake.read(store.link, "w1", 1, None)
    assert [one.job_id for one in read.deliveries] == ["b"]
    assert read.paused == {"lane:default": 0}


@pytest.mark.parametrize("block_ms", [None, 20])
async def test_lanes_left_out(store: Store, block_ms: int | None) -> None:
    """Only some lanes are read, or none, but always what was returned; later all again."""
    intake = LaneReader(store.broker, {"default": 3, "slow": 1}, strict=False)
    await store.enqueue("a")
    await store.enqueue("b", lane="slow")

    async def read() -> list[str]:
        found = await intake.read(store.link, "w1", 10, block_ms)
        await store.broker.hand_back(
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
