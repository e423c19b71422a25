"""put_schedule.lua: a schedule is made at run time."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from aiostreamq.model.schedules.definition import Definition, Rules
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.reads import READ_BYTES, ReadSize
from aiostreamq.store.schedule_replies import Page, State
from aiostreamq.store.schedules import TICK_LIMIT
from tests.support.schedules import EVERY, FAR, RAW, Scene, repair, spoil, tick


async def test_new_schedule_is_kept(scene: Scene) -> None:
    """It is due at its first tick, all workers are told, and it is read as it was written."""
    assert await scene.put() == 1
    [due] = await scene.due()
    assert (due.name, due.at, due.held, due.last_lives, due.definition) == (
        "s", 5000, None, False, RAW,
    )  # fmt: skip
    assert await scene.words() == ["schedule"]
    assert Definition.decode(due.definition) == EVERY


async def test_name_is_taken_once(scene: Scene) -> None:
    """A repeated call is answered as the first, another definition is refused."""
    assert await scene.put() == 1
    [due] = await scene.due()
    await scene.table.fire([tick(due)])
    assert await scene.put() == 1
    assert [one.at for one in await scene.due()] == [6000]
    assert await scene.put(raw=replace(EVERY, lane="slow").encode()) == 0


async def test_replaced_schedule_has_a_new_plan(scene: Scene) -> None:
    """It is another from then on, and what was counted stays."""
    assert await scene.table.put("s", RAW, 1, 5, replace=True) == 0
    await scene.put()
    [old] = await scene.due()
    await scene.table.fire([tick(old)])
    other = replace(EVERY, task="other").encode()
    assert await scene.table.put("s", other, 6000, 5, replace=True) == 1
    state = await scene.table.get("s")
    assert isinstance(state, State)
    assert (state.runs, state.at, state.definition) == (1, 6000, other)
    # Who has read the old one, at the same tick, fires nothing any more.
    [new] = await scene.due()
    assert await scene.table.fire([tick(new._replace(rev=old.rev))]) == [0]


async def test_limit_below_the_past_runs_plans_no_tick(scene: Scene) -> None:
    """Changed to that it is over at once, so that nobody is told a tick that never comes."""
    await scene.put()
    await scene.table.declare([("c", RAW, 5000)])
    await scene.table.fire([tick(one) for one in await scene.due("c")])
    fewer = replace(EVERY, rules=Rules(max_runs=1)).encode()
    assert await scene.table.put("s", fewer, FAR, 5, replace=True) == 1
    assert await scene.table.declare([("c", fewer, FAR)]) == [2]
    assert await scene.table.due(("c",)) == Page([], [], False, None)
    more = replace(EVERY, rules=Rules(max_runs=2)).encode()
    assert await scene.table.put("s", more, 6000, 5, replace=True) == 1
    assert await scene.table.declare([("c", more, 6000)]) == [2]
    assert [one.at for one in await scene.due("c")] == [6000, 6000]


@pytest.mark.parametrize("count", [0, 1, TICK_LIMIT, 3 * TICK_LIMIT + 1])
async def test_many_are_listed_in_pages(scene: Scene, count: int) -> None:
    """All of them, each once and sorted by name."""
    names = [f"s{number}" for number in range(count)]
    await scene.table.declare([(name, RAW, FAR) for name in names])
    pages = [page async for page in scene.table.pages()]
    assert [one.name for page in pages for one in page] == sorted(names)
    assert all(0 < len(page) <= TICK_LIMIT for page in pages)
    assert await scene.table.all() == [one for page in pages for one in page]


async def test_long_definitions_are_read_in_pieces(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is known that they are long, each read asks for about a megabyte."""
    counts: list[int] = []
    note = ReadSize.note

    def noted(self: ReadSize, entries: int, size: int) -> None:
        counts.append(entries)
        note(self, entries, size)

    raw = replace(EVERY, envelope=orjson.dumps({"task": "size", "args": ["x" * 100_000]}).decode())
    names = [f"s{number}" for number in range(100)]
    for name in names:
        assert await scene.put(name, raw=raw.encode()) == 1
    monkeypatch.setattr(ReadSize, "note", noted)
    assert [one.name for one in await scene.table.all()] == sorted(names)
    # Redis returns whole buckets of its table, so maybe some more than it was asked for.
    assert max(counts[1:]) <= 2 * READ_BYTES // 100_000


@pytest.mark.parametrize("key", ["schedules", "schedule:s", "schedule_due", "control"])
async def test_put_beside_a_foreign_key_raises(scene: Scene, key: str) -> None:
    """It raises and keeps no half of a schedule: the same call makes it when the key is gone."""
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.put()
    await repair(scene, key)
    assert await scene.put() == 1
    assert [due.at for due in await scene.due()] == [5000]
