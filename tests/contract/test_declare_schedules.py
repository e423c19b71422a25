"""declare_schedules.lua: code declares schedules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.schedule_replies import Page, State
from tests.support.schedules import EVERY, FAR, RAW, Scene, repair, spoil, tick


async def test_declared_schedule_is_due_for_its_code(scene: Scene) -> None:
    """Only a worker that declares it is told of it, and only that one's sleep depends on it."""
    assert await scene.table.declare([("a", RAW, 5000), ("b", RAW, FAR)]) == [1, 1]
    assert [one.name for one in await scene.due("a", "b", "c")] == ["a"]
    assert await scene.table.due(()) == Page([], [], False, None)
    [due] = await scene.due("a")
    assert await scene.table.fire([tick(due)]) == [1]
    assert [one.at for one in await scene.due("a")] == [6000]


async def test_repeated_declaration_changes_nothing(scene: Scene) -> None:
    """The same keeps its tick, however late; another begins anew. Only that is told."""
    await scene.table.declare([("a", RAW, 5000)])
    assert await scene.table.declare([("a", RAW, 9000)]) == [0]
    assert [one.at for one in await scene.due("a")] == [5000]
    assert await scene.words() == ["schedule"]
    other = replace(EVERY, lane="slow").encode()
    assert await scene.table.declare([("a", other, 9000)]) == [2]
    assert [(one.at, one.definition) for one in await scene.due("a")] == [(9000, other)]


async def test_declaration_is_renewed(scene: Scene) -> None:
    """Old code does not turn back what newer code has changed; what is lost is told."""
    await scene.table.declare([("a", RAW, 5000)])
    old = replace(EVERY, lane="slow").encode()
    assert await scene.table.declare([("a", old, 9000), ("b", RAW, 1)], look=True) == [0, 4]
    assert [one.definition for one in await scene.due("a", "b")] == [RAW]


async def test_code_and_run_time_share_no_name(scene: Scene) -> None:
    """Neither takes the other's name."""
    await scene.put("a")
    assert await scene.table.declare([("a", RAW, 1)]) == [3]
    await scene.table.declare([("b", RAW, 1)])
    assert await scene.put("b") == -1
    assert await scene.table.put("b", RAW, 1, 5, replace=True) == -1
    found = [one for one in await scene.table.all() if isinstance(one, State)]
    assert [(one.name, one.is_code) for one in found] == [("a", False), ("b", True)]


@pytest.mark.parametrize("key", ["schedules", "schedule:s", "schedule_due_code", "control"])
async def test_declaration_beside_a_foreign_key_raises(scene: Scene, key: str) -> None:
    """The same for one that code declares."""
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.declare([("s", RAW, 5000)])
    await repair(scene, key)
    assert await scene.table.declare([("s", RAW, 5000)]) == [1]
    assert [due.at for due in await scene.due("s")] == [5000]
