"""schedule, declare, due, tick, hold and unschedule: schedules in Redis, each tick once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from aiostreamq.model.keys import RESERVED
from aiostreamq.model.schedules.cron import Every
from aiostreamq.model.schedules.definition import Definition, Rules, job_id
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.schedule_replies import Due, Page, State
from aiostreamq.store.schedules import TICK_LIMIT, ScheduleStore, Tick
from tests.support.store import Store

SECOND = 1000
EVERY = Definition("size", Every(SECOND), Rules(), '{"task":"size"}', "default", "0")
RAW = EVERY.encode()
FAR = 9_000_000_000_000


class Scene:
    """A timetable, and ticks of it as a worker would make them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.table = ScheduleStore(store.queue)

    async def put(self, name: str = "s", due: int | None = 5000, raw: bytes = RAW) -> int:
        """Make a schedule."""
        return await self.table.put(name, raw, due, 5, replace=False)

    async def due(self, *declared: str) -> list[Due]:
        """What is due."""
        return (await self.table.due(declared)).due

    async def words(self) -> list[str]:
        """What the workers were told."""
        return [one["say"] for one in await self.store.stream_at(self.store.keys.control)]

    async def queued(self) -> list[str]:
        """Ids of the jobs that wait in the lane."""
        return [one["id"] for one in await self.store.stream_at(self.store.keys.stream("default"))]

    async def state(self, name: str = "s") -> dict[str, str]:
        """What is kept of a schedule."""
        return await self.store.hash_at(self.store.keys.schedule(name))


def tick(due: Due, *, overlap: str = "allow", max_runs: int = 0, start: int = 0) -> Tick:
    """Fire the next tick of a schedule of one second, or the one that is held."""
    is_held = due.held is not None and not due.last_lives
    planned = due.held if is_held else due.at
    following = due.at if is_held or due.at is None else due.at + SECOND
    assert planned is not None
    return Tick(
        due.name, due.rev, due.at, due.held, following, planned, job_id(due.name, planned),
        "default", "0", start, overlap, max_runs, b'{"task":"size"}',
    )  # fmt: skip


@pytest.fixture
async def scene(store: Store) -> Scene:
    """An empty queue."""
    return Scene(store)


async def test_schedule_is_kept(scene: Scene) -> None:
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


async def test_replace(scene: Scene) -> None:
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


async def test_tick_is_a_job(scene: Scene) -> None:
    """It waits in its lane under the schedule's name and time, and the next tick is planned."""
    await scene.put()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due)]) == [1]
    [delivery] = await scene.store.read()
    assert (delivery.job_id, delivery.number) == ("s@1970-01-01T00:00:05Z", 1)
    state = await scene.state()
    assert (state["at"], state["runs"], state["last_at"]) == ("6000", "1", "5000")


async def test_one_of_many_fires(scene: Scene) -> None:
    """However many have seen the same tick, it is enqueued once, and skipped by none."""
    await scene.put()
    [due] = await scene.due()
    answers = await asyncio.gather(*(scene.table.fire([tick(due)]) for _ in range(20)))
    assert sorted(answers) == [[0]] * 19 + [[1]]
    assert len(await scene.queued()) == 1


async def test_tick_is_fired_once_for_ever(scene: Scene) -> None:
    """Also when its job has ended and its result is gone, and for a late caller."""
    await scene.put()
    [due] = await scene.due()
    await scene.table.fire([tick(due)])
    await scene.store.settle(*await scene.store.read(), keep_ms=0)
    await scene.store.call("DEL", scene.store.keys.job(job_id("s", 5000)))
    assert await scene.table.fire([tick(due)]) == [0]
    assert await scene.queued() == []


async def test_id_that_is_taken(scene: Scene) -> None:
    """A schedule that is made anew does not fire again what its name has fired before."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    assert await scene.table.remove("s", 5)
    await scene.put()
    assert await scene.table.fire([tick(one) for one in await scene.due()]) == [4]
    assert len(await scene.queued()) == 1


async def test_chain_of_ticks(scene: Scene) -> None:
    """Missed ticks are fired in one call; what is left out moves on without a job."""
    await scene.put()
    [due] = await scene.due()
    one = tick(due)
    two = tick(due._replace(at=6000))._replace(planned=None)
    three = tick(due._replace(at=7000))
    assert await scene.table.fire([one, two, three, three]) == [1, 5, 1, 0]
    assert await scene.queued() == [job_id("s", 5000), job_id("s", 7000)]


async def test_last_tick(scene: Scene) -> None:
    """A schedule that is over is kept, and never due."""
    await scene.put()
    [due] = await scene.due()
    await scene.table.fire([tick(due)._replace(following=None)])
    assert await scene.table.due(()) == Page([], [], False, None)
    state = await scene.table.get("s")
    assert isinstance(state, State)
    assert (state.at, state.runs) == (None, 1)


async def test_as_many_as_it_may(scene: Scene) -> None:
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


async def test_fewer_than_it_has_had(scene: Scene) -> None:
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


@pytest.mark.parametrize("definition", [b"{", b'"text"', b'{"max_runs":null}'])
async def test_limit_that_is_none(scene: Scene, definition: bytes) -> None:
    """A definition that the script can not read is kept, and due, as it is."""
    await scene.put(raw=definition)
    assert [one.definition for one in await scene.due()] == [definition]


async def test_skip(scene: Scene) -> None:
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


async def test_buffer_one(scene: Scene) -> None:
    """One tick is held until the last job ends; those after it are left out meanwhile."""
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


async def test_held_tick_is_looked_at(scene: Scene) -> None:
    """While the last job runs nothing is due, but it is looked for its end soon."""
    await scene.put()
    await scene.table.fire([tick(one) for one in await scene.due()])
    [due] = await scene.due()
    await scene.table.fire([tick(due, overlap="buffer_one")._replace(following=FAR)])
    assert await scene.table.due(()) == Page([], [], False, 0.5)
    await scene.store.settle(*await scene.store.read())
    assert len(await scene.due()) == 1


async def test_job_that_is_to_be_replaced(scene: Scene) -> None:
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


async def test_job_that_nothing_replaces(scene: Scene) -> None:
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


async def test_jitter(scene: Scene) -> None:
    """A tick that is put off is a delayed job, and counts as one that lives."""
    await scene.put()
    [due] = await scene.due()
    assert await scene.table.fire([tick(due, start=FAR)]) == [1]
    assert await scene.store.results.job_state(job_id("s", 5000)) == b"delayed"
    assert await scene.words() == ["schedule", "wake"]
    assert [one.last_lives for one in await scene.due()] == [True]


async def test_declared_schedule_is_fired_by_its_code(scene: Scene) -> None:
    """Only a worker that declares it is told of it, and only that one's sleep depends on it."""
    assert await scene.table.declare([("a", RAW, 5000), ("b", RAW, FAR)]) == [1, 1]
    assert [one.name for one in await scene.due("a", "b", "c")] == ["a"]
    assert await scene.table.due(()) == Page([], [], False, None)
    [due] = await scene.due("a")
    assert await scene.table.fire([tick(due)]) == [1]
    assert [one.at for one in await scene.due("a")] == [6000]


async def test_declared_again(scene: Scene) -> None:
    """The same keeps its tick, however late; another begins anew. Only that is told."""
    await scene.table.declare([("a", RAW, 5000)])
    assert await scene.table.declare([("a", RAW, 9000)]) == [0]
    assert [one.at for one in await scene.due("a")] == [5000]
    assert await scene.words() == ["schedule"]
    other = replace(EVERY, lane="slow").encode()
    assert await scene.table.declare([("a", other, 9000)]) == [2]
    assert [(one.at, one.definition) for one in await scene.due("a")] == [(9000, other)]


async def test_saying_that_it_is_still_declared(scene: Scene) -> None:
    """Old code does not turn back what newer code has changed; what is lost is told."""
    await scene.table.declare([("a", RAW, 5000)])
    old = replace(EVERY, lane="slow").encode()
    assert await scene.table.declare([("a", old, 9000), ("b", RAW, 1)], look=True) == [0, 4]
    assert [one.definition for one in await scene.due("a", "b")] == [RAW]


async def test_names_of_code_and_of_run_time(scene: Scene) -> None:
    """Neither takes the other's name."""
    await scene.put("a")
    assert await scene.table.declare([("a", RAW, 1)]) == [3]
    await scene.table.declare([("b", RAW, 1)])
    assert await scene.put("b") == -1
    assert await scene.table.put("b", RAW, 1, 5, replace=True) == -1
    found = [one for one in await scene.table.all() if isinstance(one, State)]
    assert [(one.name, one.is_code) for one in found] == [("a", False), ("b", True)]


@pytest.mark.parametrize("is_code", [False, True])
async def test_pause(scene: Scene, *, is_code: bool) -> None:
    """Nothing is due during a pause, whoever has seen it before, and all goes on after it."""
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


async def test_pause_outlives_a_change(scene: Scene) -> None:
    """Neither a replacement nor a new release lets a paused schedule go on."""
    await scene.put()
    await scene.table.pause("s", 5)
    await scene.table.put("s", replace(EVERY, task="other").encode(), 5000, 5, replace=True)
    await scene.table.declare([("a", RAW, 5000)])
    await scene.table.pause("a", 5)
    await scene.table.declare([("a", replace(EVERY, lane="slow").encode(), 5000)])
    assert await scene.due("a") == []


async def test_forgotten_schedule(scene: Scene) -> None:
    """Nothing is left of it, and nobody fires it any more."""
    await scene.put()
    await scene.table.declare([("a", RAW, 5000)])
    due = await scene.due("a")
    assert not await scene.table.remove("a", 5, unseen_ms=60_000)
    for name in ("a", "s"):
        assert await scene.table.remove(name, 5)
        assert not await scene.table.remove(name, 5)
    assert await scene.table.fire([tick(one) for one in due]) == [0, 0]
    streams = {f"stream:{name}" for name in ("default", "slow", *RESERVED)}
    assert await scene.store.key_names() == {"control", *streams}


async def test_leftover_is_forgotten(scene: Scene) -> None:
    """What no code has declared for long enough is; what was made at run time never is."""
    await scene.put()
    await scene.table.declare([("a", RAW, 5000)])
    await scene.store.call("HSET", scene.store.keys.schedule("a"), "seen", 5)
    assert await scene.table.remove("a", 5, unseen_ms=60_000)
    assert not await scene.table.remove("s", 5, unseen_ms=1)


async def test_one_call_lists_a_bounded_number(scene: Scene) -> None:
    """Of the others it is told that they are there; nothing is lost."""
    for number in range(TICK_LIMIT + 5):
        await scene.put(f"s{number}")
    page = await scene.table.due(())
    assert (len(page.due), page.has_more) == (TICK_LIMIT, True)
    await scene.table.fire([tick(one)._replace(following=FAR) for one in page.due])
    page = await scene.table.due(())
    assert (len(page.due), page.has_more) == (5, False)
    assert cast("float", page.wait) > 1000


async def test_page_by_page(scene: Scene) -> None:
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "soon"), ("at", "05000"), ("at", "5e3"), ("at", "9" * 30), ("held", "?"),
        ("runs", "many"), ("skipped", "1.5"), ("rev", ""), ("rev", b"\xff"), ("last", b"\xff"),
    ],
)  # fmt: skip
async def test_damaged_field(scene: Scene, field: str, value: str | bytes) -> None:
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


async def test_last_job_lives_and_a_tick_is_damaged(scene: Scene) -> None:
    """What waits for the end of a job is looked at as well."""
    await scene.put("bad")
    await scene.table.fire([tick(one) for one in await scene.due()])
    key = scene.store.keys.schedule("bad")
    await scene.store.call("HSET", key, "held", "6000", "at", "soon")
    await scene.store.call("ZADD", scene.store.keys.schedule_due, 5000, "bad")
    await scene.put("good")
    assert [one.name for one in await scene.due()] == ["good"]


async def test_parts_of_a_schedule(scene: Scene) -> None:
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


async def test_paused_is_not_due(scene: Scene) -> None:
    """Not even where somebody has written it among those that are."""
    await scene.put()
    await scene.table.pause("s", 5)
    await scene.store.call("ZADD", scene.store.keys.schedule_due, 5000, "s")
    assert await scene.due() == []


async def test_next_is_told(scene: Scene) -> None:
    """The sleep ends with the earliest of all that this worker may fire."""
    await scene.put(due=FAR)
    later = (await scene.table.due(())).wait
    await scene.table.declare([("a", RAW, FAR - 60_000)])
    sooner = (await scene.table.due(("a",))).wait
    assert later is not None
    assert sooner is not None
    assert later - sooner == pytest.approx(60, abs=5)


async def spoil(scene: Scene, name: str) -> None:
    """Have another program put something else in the place of a key."""
    key = scene.store.keys.prefix + name
    await scene.store.call("DEL", key)
    await scene.store.call("SET", key, "?")


async def repair(scene: Scene, name: str) -> None:
    """Delete it, as an operator would who has seen the log."""
    await scene.store.call("DEL", scene.store.keys.prefix + name)
    await scene.store.queue.create_groups(scene.store.link)


@pytest.mark.parametrize("key", ["schedules", "schedule:s", "schedule_due", "control"])
async def test_put_beside_a_foreign_key(scene: Scene, key: str) -> None:
    """It raises and keeps no half of a schedule: the same call makes it when the key is gone."""
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.put()
    await repair(scene, key)
    assert await scene.put() == 1
    assert [due.at for due in await scene.due()] == [5000]


@pytest.mark.parametrize("key", ["schedules", "schedule:s", "schedule_due_code", "control"])
async def test_declared_beside_a_foreign_key(scene: Scene, key: str) -> None:
    """The same for one that code declares."""
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.declare([("s", RAW, 5000)])
    await repair(scene, key)
    assert await scene.table.declare([("s", RAW, 5000)]) == [1]
    assert [due.at for due in await scene.due("s")] == [5000]


@pytest.mark.parametrize("key", ["schedule_due", "control"])
async def test_resumed_beside_a_foreign_key(scene: Scene, key: str) -> None:
    """It raises and is paused still: the same call lets it go on when the key is gone."""
    await scene.put()
    await scene.table.pause("s", 5)
    rev = (await scene.state())["rev"]
    await spoil(scene, key)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await scene.table.resume("s", rev, 5000, 5)
    await repair(scene, key)
    assert await scene.table.resume("s", rev, 5000, 5) == 1
    assert [due.at for due in await scene.due()] == [5000]


@pytest.mark.parametrize("key", ["stream:default", "schedule_due_code", "delayed"])
async def test_tick_beside_a_foreign_key(scene: Scene, key: str) -> None:
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


async def test_tick_without_control(scene: Scene) -> None:
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
