"""list_pauses.lua: the pauses that hold."""

import pytest

from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.inspect.snapshot import Snapshots
from aiostreamq.store.pauses import PauseStore
from tests.support.store import Store


@pytest.fixture
def pauses(store: Store) -> PauseStore:
    """What says so."""
    return PauseStore(store.queue)


async def test_pause_ends_at_its_time_once(store: Store, pauses: PauseStore) -> None:
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


async def test_snapshot_leaves_passed_pauses_in_place(store: Store, pauses: PauseStore) -> None:
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


async def test_foreign_fields_are_left_out(store: Store, pauses: PauseStore) -> None:
    """It is left out."""
    await store.call("HSET", store.keys.paused, "x", "0", "task:a", "never", b"\xff", "1")
    assert (await pauses.paused())[1] == {}
