"""pause_schedule.lua: a schedule pauses and resumes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiostreamq.store.connection.link import CommandError
from tests.support.schedules import EVERY, RAW, Scene, repair, spoil, tick


@pytest.mark.parametrize("is_code", [False, True])
async def test_paused_schedule_skips_its_ticks(scene: Scene, *, is_code: bool) -> None:
    """Nothing is due during a pause, whoever has seen it before, and all continues after it."""
    await (scene.table.declare([("s", RAW, 5000)]) if is_code else scene.put())
    [due] = await scene.due("s")
    assert await scene.table.pause("s", 5) == 1
    assert await scene.table.pause("s", 5) == 0
    assert await scene.due("s") == []
    assert await scene.table.fire([tick(due)]) == [0]
    assert await scene.table.resume("s", "another", 1, 5) == -2
    assert await scene.table.resume("s", due.rev, 7000, 5) == 1
    assert await scene.table.resume("s", due.rev, 8000, 5) == 0
    assert [one.at for one in await scene.due("s")] == [7000]
    assert await scene.table.pause("nobody", 5) == -1


async def test_pause_outlives_a_new_definition(scene: Scene) -> None:
    """Neither a replacement nor a new release lets a paused schedule continue."""
    await scene.put()
    await scene.table.pause("s", 5)
    await scene.table.put("s", replace(EVERY, task="other").encode(), 5000, 5, replace=True)
    await scene.table.declare([("a", RAW, 5000)])
    await scene.table.pause("a", 5)
    await scene.table.declare([("a", replace(EVERY, lane="slow").encode(), 5000)])
    assert await scene.due("a") == []


@pytest.mark.parametrize("key", ["schedule_due", "control"])
async def test_resume_beside_a_foreign_key_raises(scene: Scene, key: str) -> None:
    """It raises and is paused still: the same call lets it continue when the key is gone."""
    await scene.put()
    await scene.table.pause("s", 5)
    rev = (await scene.state())["rev"]
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.resume("s", rev, 5000, 5)
    await repair(scene, key)
    assert await scene.table.resume("s", rev, 5000, 5) == 1
    assert [due.at for due in await scene.due()] == [5000]
