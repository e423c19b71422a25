"""delete_schedule.lua: a schedule is forgotten."""

from __future__ import annotations

from aiostreamq.model.keys import ADMITTED, OVERFLOW, RETURNED
from tests.support.schedules import RAW, Scene, tick


async def test_deleted_schedule_leaves_nothing(scene: Scene) -> None:
    """Nothing is left of it, and nobody fires it any more."""
    await scene.put()
    await scene.table.declare([("a", RAW, 5000)])
    due = await scene.due("a")
    assert not await scene.table.remove("a", 5, unseen_ms=60_000)
    for name in ("a", "s"):
        assert await scene.table.remove(name, 5)
        assert not await scene.table.remove(name, 5)
    assert await scene.table.fire([tick(one) for one in due]) == [0, 0]
    streams = {
        f"stream:{name}" for name in ("default", "slow", RETURNED, *OVERFLOW.values(), ADMITTED)
    }
    assert await scene.store.key_names() == {"control", *streams}
