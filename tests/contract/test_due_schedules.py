"""due_schedules.lua: the schedules to fire, and when to look again."""

from __future__ import annotations

from typing import cast

import pytest

from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.schedule_replies import Page
from aiostreamq.store.schedules import TICK_LIMIT
from tests.support.schedules import FAR, RAW, Scene, spoil, tick


async def test_held_tick_is_listed(scene: Scene) -> None:
    """While the last job runs nothing is due, but it is looked for its end soon."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    [due] = await scene.due()
    await scene.table.fire([tick(due, overlap="buffer_one")._replace(following=FAR)])
    assert await scene.table.due(()) == Page([], [], False, 0.5, 1)
    await scene.store.settle(*await scene.store.read())
    assert len(await scene.due()) == 1


async def test_leftover_name_is_removed(scene: Scene) -> None:
    """What no code has declared for long enough is; what was made at run time never is."""
    await scene.put()
    await scene.table.declare([("a", RAW, 5000)])
    await scene.store.call("HSET", scene.store.keys.schedule("a"), "seen", 5)
    assert await scene.table.remove("a", 5, unseen_ms=60_000)
    assert not await scene.table.remove("s", 5, unseen_ms=1)


async def test_due_lists_a_bounded_number(scene: Scene) -> None:
    """Of the others it is told that they are there; nothing is lost."""
    for number in range(TICK_LIMIT + 5):
        await scene.put(f"s{number}")
    page = await scene.table.due(())
    assert (len(page.due), page.has_more) == (TICK_LIMIT, True)
    await scene.table.fire([tick(one)._replace(following=FAR) for one in page.due])
    page = await scene.table.due(())
    assert (len(page.due), page.has_more) == (5, False)
    assert cast("float", page.wait) > 1000


async def test_due_is_paged(scene: Scene) -> None:
    """Each that is due is on one page, those of code behind those of run time."""
    made = [f"s{number}" for number in range(TICK_LIMIT + 5)]
    for name in made:
        await scene.put(name)
    declared = [f"c{number}" for number in range(TICK_LIMIT)]
    await scene.table.declare([(name, RAW, 5000) for name in declared])
    pages = [await scene.table.due(declared, n * TICK_LIMIT) for n in range(4)]
    assert [len(page.due) for page in pages] == [TICK_LIMIT, TICK_LIMIT, 5, 0]
    assert [page.has_more for page in pages] == [True, True, False, False]
    assert [one.name for page in pages for one in page.due] == sorted(made) + declared


async def test_part_of_a_schedule_is_listed_as_unreadable(scene: Scene) -> None:
    """One of which only a part is left, or with a name that is none, is told as such."""
    keys, call = scene.store.keys, scene.store.call
    await scene.put("lost")
    await scene.put("spoilt")
    await scene.put("rest")
    await call("DEL", keys.schedule("lost"))
    await spoil(scene, "schedule:spoilt")
    await call("HDEL", keys.schedules, "rest")
    await call("ZADD", keys.schedule_due, 5000, b"\xff")
    page = await scene.table.due(())
    assert page.due == []
    assert {one.name for one in page.unreadable} == {"lost", "spoilt", "rest", "\\xff"}
    whys = {
        one.name: one.why for one in await scene.table.all() if isinstance(one, UnreadableSchedule)
    }
    assert whys.keys() == {"lost", "spoilt"}
    assert "another program" in whys["spoilt"]


async def test_paused_schedule_is_not_due(scene: Scene) -> None:
    """Not even where somebody has written it among those that are."""
    await scene.put()
    await scene.table.pause("s", 5)
    await scene.store.call("ZADD", scene.store.keys.schedule_due, 5000, "s")
    assert await scene.due() == []


async def test_wait_ends_with_the_earliest_schedule(scene: Scene) -> None:
    """The sleep ends with the earliest of all that this worker may fire."""
    await scene.put(due=FAR)
    later = (await scene.table.due(())).wait
    await scene.table.declare([("a", RAW, FAR - 60_000)])
    sooner = (await scene.table.due(("a",))).wait
    assert later is not None
    assert sooner is not None
    assert later - sooner == pytest.approx(60, abs=5)
