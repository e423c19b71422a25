"""pause.lua: tasks and lanes are paused."""

from collections.abc import Awaitable, Callable

import pytest

from aiostreamq.store import lane_reader
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.reads import Read
from tests.support.store import Store


@pytest.fixture
def pauses(store: Store) -> PauseStore:
    """What says so."""
    return PauseStore(store.queue)


async def test_last_pause_or_resume_holds(pauses: PauseStore) -> None:
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


async def test_each_change_is_sent_to_workers(store: Store, pauses: PauseStore) -> None:
    """Each change is said to all; also one that was none, as its word may have been missed."""
    end = await ControlStream(store.queue).end()
    await pauses.pause(["task:a"], "0")
    await pauses.resume(["task:a"])
    await pauses.resume(["task:a"])
    _, words = await ControlStream(store.queue).listen(store.link, end, 1000)
    assert words == [{"say": "pause"}] * 3


@pytest.mark.parametrize("lanes", [{"default": 1}, {"default": 3, "slow": 1}])
async def test_read_returns_the_pauses(
    store: Store, pauses: PauseStore, lanes: dict[str, int]
) -> None:
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
async def test_reader_leaves_out_paused_lanes(store: Store, block_ms: int | None) -> None:
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


def intake_of(store: Store, *lanes: str) -> LaneReader:
    """What reads these lanes."""
    return LaneReader(store.queue, dict.fromkeys(lanes, 1), strict=False)


READS: dict[str, Callable[[Store], Awaitable[Read]]] = {
    "a lane": lambda store: intake_of(store, "slow").read(store.link, "w1", 5, None),
    "lanes": lambda store: intake_of(store, "default", "slow").read(store.link, "w1", 5, None),
    "waiting": lambda store: intake_of(store, "default", "slow").read(store.link, "w1", 5, 10),
    "overflow": lambda store: intake_of(store, "slow").read_overflow(store.link, "w1", 5, "thread"),
    "parked": lambda store: intake_of(store, "slow").read_parked(store.link, "w1", 5, ["t"]),
    "own": lambda store: store.deliveries.read_own(store.link, "w1", 5),
}


@pytest.mark.parametrize("few_lanes", [1, 16])
@pytest.mark.parametrize("kind", READS)
async def test_no_read_forgets_a_pause(
    store: Store, pauses: PauseStore, kind: str, few_lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that finds nothing returns the pauses, or None: a worker takes them for all."""
    monkeypatch.setattr(lane_reader, "FEW_LANES", few_lanes)
    await pauses.pause(["lane:slow"], "0")
    read = await READS[kind](store)
    assert read.deliveries == []
    assert read.paused in (None, {"lane:slow": 0})
