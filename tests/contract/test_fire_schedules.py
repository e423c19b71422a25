"""fire_schedules.lua: each tick enqueues one job."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aiostreamq.model.schedules.definition import job_id
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.schedule_replies import Page, State
from tests.support.schedules import EVERY, FAR, Scene, repair, spoil, tick


async def test_tick_enqueues_a_job(scene: Scene) -> None:
    """It waits in its lane under the schedule's name and time, and the next tick is planned."""
    await scene.put()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due)]) == [1]
    [delivery] = await scene.store.read()
    assert (delivery.job_id, delivery.number) == ("s@1970-01-01T00:00:05Z", 1)
    state = await scene.state()
    assert (state["at"], state["runs"], state["last_at"]) == ("6000", "1", "5000")


async def test_tick_of_many_workers_fires_once(scene: Scene) -> None:
    """However many have seen the same tick, it is enqueued once, and skipped by none."""
    await scene.put()
    [due] = await scene.due()
    answers = await asyncio.gather(*(scene.table.fire([tick(due)]) for _ in range(20)))
    assert sorted(answers) == [[0]] * 19 + [[1]]
    assert len(await scene.queued()) == 1


async def test_fired_tick_never_fires_again(scene: Scene) -> None:
    """Also when its job has ended and its result is gone, and for a late caller."""
    await scene.put()
    [due] = await scene.due()
    await scene.table.fire([tick(due)])
    await scene.store.settle(*await scene.store.read(), keep_ms=0)
    await scene.store.call("DEL", scene.store.keys.job(job_id("s", 5000)))
    assert await scene.table.fire([tick(due)]) == [0]
    assert await scene.queued() == []


async def test_tick_with_a_taken_id_is_skipped(scene: Scene) -> None:
    """A schedule that is made anew does not fire again what its name has fired before."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    assert await scene.table.remove("s", 5)
    await scene.put()
    assert await scene.table.fire([tick(one) for one in await scene.due()]) == [4]
    assert len(await scene.queued()) == 1


async def test_ticks_follow_each_other(scene: Scene) -> None:
    """Missed ticks are fired in one call; what is left out moves on without a job."""
    await scene.put()
    [due] = await scene.due()
    one = tick(due)
    two = tick(due._replace(at=6000))._replace(planned=None)
    three = tick(due._replace(at=7000))
    assert await scene.table.fire([one, two, three, three]) == [1, 5, 1, 0]
    assert await scene.queued() == [job_id("s", 5000), job_id("s", 7000)]


async def test_last_tick_plans_no_other(scene: Scene) -> None:
    """A schedule that is over is kept, and never due."""
    await scene.put()
    [due] = await scene.due()
    await scene.table.fire([tick(due)._replace(following=None)])
    assert await scene.table.due(()) == Page([], [], False, None)
    state = await scene.table.get("s")
    assert isinstance(state, State)
    assert (state.at, state.runs) == (None, 1)


async def test_schedule_ends_after_max_runs(scene: Scene) -> None:
    """The last of max_runs ends it, and so does one that is beyond."""
    await scene.put()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due)]) == [1]
    [due] = await scene.due()
    assert await scene.table.fire([tick(due, max_runs=1)]) == [5]
    assert await scene.due() == []
    await scene.put("t")
    [due] = await scene.due()
    assert await scene.table.fire([tick(due, max_runs=1)]) == [1]
    assert await scene.due() == []


@pytest.mark.parametrize("definition", [b"{", b'"text"', b'{"max_runs":null}'])
async def test_unreadable_limit_allows_all_runs(scene: Scene, definition: bytes) -> None:
    """A definition that the script can not read is kept, and due, as it is."""
    await scene.put(raw=definition)
    assert [one.definition for one in await scene.due()] == [definition]


async def test_overlap_skip_skips_a_tick(scene: Scene) -> None:
    """While the last job waits or runs, ticks are left out; then they are fired again."""
    await scene.put()
    for answer in (1, 2, 2):
        [due] = await scene.due()
        assert await scene.table.fire([tick(due, overlap="skip")]) == [answer]
    [delivery] = await scene.store.read()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due, overlap="skip")]) == [2]
    # Ended, but its id is still taken.
    await scene.store.settle(delivery, keep_ms=0)
    [due] = await scene.due()
    assert not due.last_lives
    assert await scene.table.fire([tick(due, overlap="skip")]) == [1]
    assert (await scene.state())["skipped"] == "3"


async def test_overlap_buffer_one_holds_one_tick(scene: Scene) -> None:
    """One tick is held until the last job ends; those after it are left out in between."""
    await scene.put()
    for answer in (1, 3, 2):
        [due] = await scene.due()
        assert await scene.table.fire([tick(due, overlap="buffer_one")]) == [answer]
    assert (await scene.state())["held"] == "6000"
    await scene.store.settle(*await scene.store.read())
    [due] = await scene.due()
    assert (due.held, due.at, due.last_lives) == (6000, 8000, False)
    assert await scene.table.fire([tick(due, overlap="buffer_one")] * 2) == [1, 0]
    assert await scene.queued() == [job_id("s", 6000)]
    assert [(one.held, one.at) for one in await scene.due()] == [(None, 8000)]


async def test_overlap_replace_waits_for_the_last_job_to_be_cancelled(scene: Scene) -> None:
    """It is told and nothing is done; once it has been cancelled the new one is enqueued."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    [due] = await scene.due()
    assert (due.last, due.last_lives) == (job_id("s", 5000), True)
    before = await scene.state()
    assert await scene.table.fire([tick(due, overlap="cancel_old")] * 2) == [due.last] * 2
    assert await scene.state() == before
    assert await scene.due() == [due]
    assert await scene.table.fire([tick(due)]) == [1]
    assert len(await scene.queued()) == 2


async def test_overlap_replace_spares_a_job_if_nothing_follows(scene: Scene) -> None:
    """Nobody is told to cancel one for a tick that is left out, or that is not to be had."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    [due] = await scene.due()
    new = tick(due, overlap="cancel_old")
    assert await scene.table.fire([new._replace(planned=None, following=due.at)]) == [5]
    assert await scene.table.fire([new._replace(job_id=due.last, following=due.at)]) == [4]
    await scene.table.pause("s", 5)
    assert await scene.table.fire([new]) == [0]
    await scene.table.resume("s", due.rev, due.at, 5)
    assert await scene.table.fire([new._replace(max_runs=1)]) == [5]


async def test_jitter_delays_the_job(scene: Scene) -> None:
    """A tick that is put off is a delayed job, and counts as one that lives."""
    await scene.put()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due, start=FAR)]) == [1]
    assert await scene.store.results.job_state(job_id("s", 5000)) == b"delayed"
    assert await scene.words() == ["schedule", "wake"]
    assert [one.last_lives for one in await scene.due()] == [True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "soon"), ("at", "05000"), ("at", "5e3"), ("at", "9" * 30), ("held", "?"),
        ("runs", "many"), ("skipped", "1.5"), ("rev", ""), ("rev", b"\xff"), ("last", b"\xff"),
    ],
)  # fmt: skip
async def test_damaged_field_stops_no_other(scene: Scene, field: str, value: str | bytes) -> None:
    """It is told which schedule that is, and what of it; the others are told as ever."""
    await scene.put("bad")
    await scene.put("good")
    await scene.store.call("HSET", scene.store.keys.schedule("bad"), field, value)
    page = await scene.table.due(())
    assert [one.name for one in page.due] == ["good"]
    found = await scene.table.all()
    assert [one.name for one in found if isinstance(one, State)] == ["good"]
    for one in (*page.unreadable, *(one for one in found if isinstance(one, UnreadableSchedule))):
        assert one.name == "bad"
        assert field in one.why or "state is gone" in one.why or "utf-8" in one.why
    assert len(page.unreadable) == 1


async def test_damaged_tick_of_a_living_job_is_unreadable(scene: Scene) -> None:
    """What waits for the end of a job is looked at as well."""
    await scene.put("bad")
    await scene.table.fire([tick(one) for one in await scene.due()])
    key = scene.store.keys.schedule("bad")
    await scene.store.call("HSET", key, "held", "6000", "at", "soon")
    await scene.store.call("ZADD", scene.store.keys.schedule_due, 5000, "bad")
    await scene.put("good")
    assert [one.name for one in await scene.due()] == ["good"]


@pytest.mark.parametrize("key", ["stream:default", "schedule_due_code", "delayed"])
async def test_tick_beside_a_foreign_key_raises(scene: Scene, key: str) -> None:
    """It raises and the schedule stands where it was: fired when the key is gone, and once."""
    await scene.put()
    [due] = await scene.due()
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.fire([tick(due)])
    await repair(scene, key)
    assert await scene.due() == [due]
    assert await scene.table.fire([tick(due), tick(due)]) == [1, 0]
    assert await scene.queued() == [job_id("s", 5000)]


async def test_tick_needs_no_control_stream(scene: Scene) -> None:
    """The word that a job is delayed is only a hint."""
    await scene.put()
    [due] = await scene.due()
    await spoil(scene, "control")
    assert await scene.table.fire([tick(due, start=FAR)]) == [1]
    assert await scene.store.results.job_state(job_id("s", 5000)) == b"delayed"


async def test_foreign_keys_stop_no_other_schedule(scene: Scene) -> None:
    """Neither does one in the place of a schedule's hash, nor of its last job, nor its lane."""
    await scene.put("s")
    await scene.put("t", raw=replace(EVERY, lane="slow").encode())
    await scene.put("u")
    t, u = (await scene.due())[1:]
    await spoil(scene, "schedule:s")
    assert await scene.due() == [t, u]
    await spoil(scene, "stream:slow")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.fire([tick(t)._replace(lane="slow"), tick(u)])
    assert await scene.queued() == [job_id("u", 5000)]
    await spoil(scene, f"job:{job_id('u', 5000)}")
    [_, u] = await scene.due()
    assert not u.last_lives
    assert await scene.table.fire([tick(u, overlap="skip")]) == [1]
