"""Schedules, through the public face."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import orjson
import pytest

from aiostreamq import Context, JobCancelled, JobState, Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.worker.due.ticker import Ticker
from tests.support.waiting import wait_until


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue, with nobody working on it."""
    async with Queue(store_url) as queue:
        yield queue


async def test_ticks_run(queue: Queue) -> None:
    """A decorated function stays a task, and knows what each of its ticks was planned for."""
    seen: list[tuple[str, datetime | None]] = []

    @queue.every("100ms", args=["x"])
    async def beat(context: Context, word: str) -> None:
        seen.append((word, context.scheduled_for))

    async with Worker(queue):
        await wait_until(lambda: len(seen) > 2, "three ticks")
        await beat.enqueue("y")
        await wait_until(lambda: ("y", None) in seen, "a job of nobody's schedule")
    times = [at for word, at in seen if word == "x" and at]
    # A tick that a loaded machine has missed is left out; the others keep their times.
    steps = [(after - before) / timedelta(milliseconds=100) for before, after in pairwise(times)]
    assert all(step >= 1 and step.is_integer() for step in steps)
    assert times[0].tzinfo is UTC


async def test_what_code_declares_is_changed_there(queue: Queue) -> None:
    """Not at run time: the next worker that starts would change it back."""

    @queue.every("1h")
    async def nightly() -> None: ...

    async with Worker(queue):
        for put in (queue.schedules.create, queue.schedules.replace):
            with pytest.raises(UsageError, match="declared in code: change it there, or delete"):
                await put("nightly", nightly, every="2h")


async def test_decorators_stand_on_tasks(queue: Queue) -> None:
    """A task keeps its options, and may have several schedules of different names."""

    @queue.cron("0 9 * * mon", tz="Europe/Madrid", name="monday", args=[1])
    @queue.every("1h", args=[2], max_runs=7, overlap="skip")
    @queue.task(result_ttl=5, name="report")
    async def make_report(number: int) -> None: ...

    assert make_report.name == "report"
    async with Worker(queue):
        found = {one.name: one for one in await queue.schedules.list()}
    monday, hourly = found["monday"], found["report"]
    assert (monday.task, monday.cron, monday.tz) == ("report", "0 9 * * mon", "Europe/Madrid")
    assert (hourly.every, hourly.max_runs, hourly.overlap, hourly.tz) == (3600, 7, "skip", "UTC")
    assert monday.is_declared
    assert monday.next is not None
    assert (monday.next.weekday(), monday.next.minute) == (0, 0)
    assert len(hourly.upcoming(20)) == 7


async def test_schedule_takes_a_task_with_options(queue: Queue) -> None:
    """A task with options, or with its arguments, is taken as by `queue.schedules.create`."""
    seen: dict[str, bool] = {}

    @queue.task
    async def say(context: Context, word: str) -> None:
        seen[word] = context.deadline is not None

    soon = say.using(deadline="1h")
    assert queue.every("100ms", args=["with options"])(soon) is soon
    call = soon.bind("bound")
    assert queue.every("100ms", name="bound")(call) is call
    with pytest.raises(UsageError, match=r"task\.bind"):
        queue.cron("@daily", name="both", args=[1])(call)
    with pytest.raises(UsageError, match="for a single job, and a schedule enqueues many"):
        queue.cron("@daily", name="once")(say.using(id="a"))
    async with Worker(queue):
        await wait_until(lambda: len(seen) == 2, "a tick of each")
    assert seen == {"with options": True, "bound": True}
    assert list(queue.tasks) == ["say"]


async def test_decorator_raises_for_an_invalid_schedule(queue: Queue) -> None:
    """At the decorator, and not by a worker at night."""

    @queue.task
    async def greet(name: str) -> None: ...

    with pytest.raises(UsageError, match="missing a required argument: 'name'"):
        queue.every("1h")(greet)
    with pytest.raises(UsageError, match="Bad minute"):
        queue.cron("99 * * * *", args=["a"])(greet)
    queue.cron("@daily", args=["a"])(greet)
    with pytest.raises(UsageError, match="already has a schedule 'greet'"):
        queue.cron("@hourly", args=["a"])(greet)


async def test_made_at_run_time(queue: Queue) -> None:
    """Any process may make one, and any worker fires it, also one that runs already."""
    seen: list[tuple[str, int]] = []

    @queue.task
    async def size(url: str, tenant: int = 0) -> None:
        seen.append((url, tenant))

    async with Worker(queue):
        made = await queue.schedules.create(
            "mine", size.bind("a.b", tenant=7), every="100ms", max_runs=3
        )
        assert made.name == "mine"
        await wait_until(lambda: len(seen) == 3, "all three ticks")
    [over] = await queue.schedules.list()
    assert (over.runs, over.next, over.upcoming(), seen) == (3, None, [], [("a.b", 7)] * 3)
    assert over.last is not None
    assert over.last_job_id is not None
    assert over.last_job_id.startswith("mine@")
    assert await queue.schedules.delete("mine")
    assert not await queue.schedules.delete("mine")


async def test_fewer_than_it_has_had(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """A schedule changed to that is over: no next tick is told, and none is said to be missed."""
    seen: list[int] = []

    @queue.task
    async def beat() -> None:
        seen.append(1)

    async with Worker(queue):
        await queue.schedules.create("beat", beat, every="100ms")
        await wait_until(lambda: len(seen) > 1, "two ticks")
        over = await queue.schedules.replace("beat", beat, every="100ms", max_runs=2)
        assert (over.next, over.upcoming()) == (None, [])
        assert await queue.schedules.pause("beat")
        assert await queue.schedules.resume("beat")
        assert (await queue.schedules.get("beat")).next is None
        more = await queue.schedules.replace("beat", beat, every="100ms", max_runs=over.runs + 1)
        assert len(more.upcoming()) == 1
        await wait_until(lambda: len(seen) > over.runs, "one tick more")
    assert "missed" not in caplog.text


async def test_by_name(queue: Queue) -> None:
    """Code that lacks the function makes schedules of it all the same, and changes them."""
    await queue.schedules.create("a", "elsewhere", args=[1], kwargs={"b": 2}, cron="@daily")
    with pytest.raises(UsageError, match=r"queue\.schedules\.replace"):
        await queue.schedules.create("a", "elsewhere", args=[1], cron="@daily")
    changed = await queue.schedules.replace("a", "elsewhere", cron="30 4 * * *", tz="Asia/Tokyo")
    assert (changed.cron, changed.tz) == ("30 4 * * *", "Asia/Tokyo")
    assert changed.next is not None
    assert (changed.next.hour, changed.next.minute) == (19, 30)
    with pytest.raises(UsageError, match="no schedule 'b'"):
        await queue.schedules.replace("b", "elsewhere", cron="@daily")
    with pytest.raises(UsageError, match="no schedule 'b'"):
        await queue.schedules.get("b")


async def test_pause_and_resume(queue: Queue) -> None:
    """What is due in a pause is left out; what continues is planned from then."""
    await queue.schedules.create("a", "t", every="1h")
    assert await queue.schedules.pause("a")
    assert not await queue.schedules.pause("a")
    paused = await queue.schedules.get("a")
    assert (paused.is_paused, paused.next) == (True, None)
    assert await queue.schedules.resume("a")
    assert not await queue.schedules.resume("a")
    assert (await queue.schedules.get("a")).next is not None
    for call in (queue.schedules.pause, queue.schedules.resume, queue.schedules.trigger):
        with pytest.raises(UsageError, match="no schedule 'b'"):
            await call("b")


async def test_trigger(queue: Queue) -> None:
    """One job now, as the schedule would make it, beside its ticks and also in a pause."""

    @queue.cron("@yearly", kwargs={"word": "x"})
    async def say(context: Context, word: str) -> tuple[str, bool]:
        return word, context.scheduled_for is not None

    async with Worker(queue):
        before = (await queue.schedules.get("say")).next
        await queue.schedules.pause("say")
        job = await queue.schedules.trigger("say")
        assert await job == ("x", True)
        await queue.schedules.resume("say")
        after = await queue.schedules.get("say")
        assert (after.next, after.runs) == (before, 0)


@pytest.mark.parametrize("overlap", ["skip", "buffer_one"])
async def test_jobs_that_overlap(queue: Queue, overlap: Any) -> None:
    """No two of them run at once, and it continues when the long one has ended."""
    running: list[datetime | None] = []
    most: list[int] = []
    go_on = asyncio.Event()

    @queue.every("100ms", overlap=overlap)
    async def slow(context: Context) -> None:
        running.append(context.scheduled_for)
        most.append(len(running))
        await go_on.wait()
        running.pop()

    async with Worker(queue):
        await wait_until(lambda: _skipped(queue, "slow"), "a tick that is left out")
        go_on.set()
        await wait_until(lambda: len(most) > 3, "further ticks")
    assert set(most) == {1}


async def _skipped(queue: Queue, name: str) -> bool:
    return (await queue.schedules.get(name)).skipped > 1


async def test_jitter_puts_jobs_off(queue: Queue) -> None:
    """A tick keeps its time; its job starts later, by less than the jitter."""
    late: list[float] = []

    @queue.every("200ms", jitter="150ms")
    async def spread(context: Context) -> None:
        assert context.scheduled_for is not None
        now = core_of(queue).session().store.clock.now_ms()
        late.append(now - context.scheduled_for.timestamp() * 1000)

    async with Worker(queue):
        await wait_until(lambda: len(late) >= 8, "ticks")
    assert max(late) - min(late) > 10


async def test_removed_schedule_stops(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Workers whose code has it no more leave it alone, and say so once."""
    async with Queue(store_url, name="removed") as old:
        seen: list[int] = []

        @old.every("100ms", name="gone")
        async def beat() -> None:
            seen.append(1)

        async with Worker(old):
            await wait_until(lambda: seen, "a tick of the old code")
    async with Queue(store_url, name="removed") as new:
        kept: list[int] = []
        late: list[datetime | None] = []

        # What the old code has enqueued in its last moment may be left to the new.
        @new.task(name="beat")
        async def beat_still(context: Context) -> None:
            late.append(context.scheduled_for)

        @new.every("100ms")
        async def other() -> None:
            kept.append(1)

        with caplog.at_level(logging.WARNING, "aiostreamq.worker"):
            async with Worker(new):
                before = await new.schedules.get("gone")
                await wait_until(lambda: len(kept) > 5, "ticks of the new code")
                assert (await new.schedules.get("gone")).runs == before.runs
        assert before.last is not None
        assert all(at is not None and at <= before.last for at in late)
        told = [one for one in caplog.messages if "'gone'" in one]
        assert len(told) == 1
        assert "not in the code of this worker" in told[0]


async def test_removed_schedules_are_reported(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names each schedule that new code no longer has."""
    for names in (("first", "second"), ("new",)):
        async with Queue(store_url, name="removed") as queue:

            @queue.task
            async def report() -> None: ...

            for name in names:
                queue.cron("@daily", name=name)(report)
            async with Worker(queue):
                pass
    for name in ("first", "second"):
        assert f"schedule '{name}' is not in the code of this worker" in caplog.text


async def test_old_code_beside_new(queue: Queue, store_url: str) -> None:
    """In a rolling deploy old workers fire what the new ones have made of a schedule."""
    seen: list[str] = []

    @queue.every("1h", args=["old"], name="both")
    @queue.task
    async def say(word: str) -> None:
        seen.append(word)

    async with Worker(queue):
        async with Queue(store_url) as newer:

            @newer.every("100ms", args=["new"], name="both")
            @newer.task(name="say")
            async def say_newly(word: str) -> None:
                seen.append(word)

            async with Worker(newer):
                pass
        del seen[:]
        await wait_until(lambda: seen, "a tick, by the worker of the old code")
    assert set(seen) == {"new"}


async def test_name_that_run_time_has_taken(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """The one that is there stays, and the log says what to do."""
    await queue.schedules.create("say", "elsewhere", cron="@daily")

    @queue.cron("@hourly")
    async def say() -> None: ...

    async with Worker(queue):
        found = await queue.schedules.get("say")
    assert (found.cron, found.is_declared) == ("@daily", False)
    assert "schedule 'say' of this code is not used" in caplog.text


async def test_options_that_are_for_one_job(queue: Queue) -> None:
    """What names one job cannot be said of many; what is for each can."""

    @queue.task
    async def nothing() -> None: ...

    with pytest.raises(UsageError, match="a schedule enqueues many"):
        await queue.schedules.create("a", nothing.using(id="x"), cron="@daily")
    at = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(UsageError, match="must be a duration"):
        await queue.schedules.create("a", nothing.using(expires=at), cron="@daily")
    with pytest.raises(UsageError, match="leave out args="):
        await queue.schedules.create("a", nothing.bind(), args=[1], cron="@daily")
    made = await queue.schedules.create("a", nothing.using(expires="5m"), cron="@daily")
    assert made.definition.expires == 300_000


async def test_old_job_makes_way(queue: Queue) -> None:
    """With cancel_old the job of the last tick is cancelled for the next, running or not."""
    running: list[str] = []
    cancelled: list[str] = []

    @queue.every("200ms", overlap="cancel_old")
    async def endless(context: Context) -> None:
        running.append(context.job_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(context.job_id)
            raise

    async with Worker(queue, shutdown_timeout=0):
        await wait_until(lambda: len(cancelled) > 2, "old jobs to be cancelled")
        first = queue.job(cancelled[0])
        with pytest.raises(JobCancelled):
            await first
        assert cancelled[:3] == running[:3]
    # Nobody runs it now: what waits makes way too.
    await queue.schedules.create("waits", "nobody", every="100ms", overlap="cancel_old")
    session = core_of(queue).session()
    ticker = Ticker(session.schedules, session.store.clock, {}, Cancellation(session.store).cancel)
    ticking = asyncio.create_task(ticker.run())

    async def only_the_last_waits() -> bool:
        found = await queue.schedules.get("waits")
        waiting = [job.id async for job in queue.jobs(task="nobody", state="queued")]
        return found.runs >= 3 and waiting == [found.last_job_id]

    await wait_until(only_the_last_waits, "ticks")
    ticking.cancel()


async def due_since(queue: Queue, name: str, seconds: float) -> None:
    """Let it be as if a schedule's next tick had been due that long ago, and looked at now."""
    broker = core_of(queue).session().store
    at = broker.clock.now_ms() - int(seconds * 1000)
    keys = broker.keys
    await broker.call("HSET", keys.schedule(name), "at", at)
    await broker.call("ZADD", keys.schedule_due, at, name)
    await broker.call("XADD", keys.control, "*", "say", "schedule")


@pytest.mark.parametrize("rules", [{"catch_up": "none"}, {"max_runs": 1}])
async def test_old_job_stays_where_nothing_replaces_it(queue: Queue, rules: Any) -> None:
    """A tick that is left out, as missed or one too many, cancels nothing."""
    await queue.schedules.create("s", "nobody", every="1h")
    async with Worker(queue):
        await due_since(queue, "s", 1)
        await wait_until(lambda: _is_parked(queue, "s"), "the job of the first tick")
        await queue.schedules.replace("s", "nobody", every="1h", overlap="cancel_old", **rules)
        await due_since(queue, "s", 30)
        await wait_until(lambda: _is_beyond(queue, "s"), "the tick to be left out")
        left = await queue.schedules.get("s")
        assert left.last_job_id is not None
        assert (left.runs, await queue.job(left.last_job_id).status()) == (1, JobState.PARKED)


async def _is_parked(queue: Queue, name: str) -> bool:
    last = (await queue.schedules.get(name)).last_job_id
    return last is not None and await queue.job(last).status() is JobState.PARKED


async def _is_beyond(queue: Queue, name: str) -> bool:
    due = (await queue.schedules.get(name)).next
    return due is None or due > datetime.now(UTC)


async def test_each_of_many_old_jobs_makes_way(queue: Queue) -> None:
    """Of ticks that are made up for together only the last one's job is left."""
    words: Any = {"overlap": "cancel_old", "catch_up": "all", "window": "1h", "max_runs": 4}
    await queue.schedules.create("s", "nobody", every="1s", **words)
    await due_since(queue, "s", 30)
    async with Worker(queue):
        await wait_until(lambda: _has_run(queue, "s", 4), "the ticks")
        last = (await queue.schedules.get("s")).last_job_id
    living = [job.id async for job in queue.jobs(state={"queued", "parked", "running"})]
    assert living == [last]


async def _has_run(queue: Queue, name: str, runs: int) -> bool:
    return (await queue.schedules.get(name)).runs >= runs


async def test_definition_of_a_version_to_come(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """What this worker does not understand is left to newer ones, and told once."""
    session = core_of(queue).session()
    await session.open()
    await session.schedules.put("a", b'{"v":2}', 5000, 5, replace=False)
    seen: list[int] = []

    @queue.every("100ms")
    async def beat() -> None:
        seen.append(1)

    async with Worker(queue):
        await wait_until(lambda: len(seen) > 2, "ticks of another schedule")
    assert len([one for one in caplog.messages if "'a' is not fired" in one]) == 1


async def spoil_definition(queue: Queue, name: str) -> None:
    """Let a schedule say what nobody can mean."""
    broker = core_of(queue).session().store
    raw = await broker.call("HGET", broker.keys.schedules, name)
    told = orjson.loads(cast("bytes", raw)) | {"every": 0}
    await broker.call("HSET", broker.keys.schedules, name, orjson.dumps(told))
    await due_since(queue, name, 20)


async def spoil_tick(queue: Queue, name: str) -> None:
    """Let a schedule be due before the first year of the calendar."""
    await due_since(queue, name, 1e12)


@pytest.mark.parametrize("spoil", [spoil_definition, spoil_tick])
async def test_schedule_that_makes_no_sense(
    queue: Queue,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Queue, str], Awaitable[None]],
) -> None:
    """It is told once, and all others continue."""
    await queue.schedules.create("bad", "nobody", every="1h")
    await spoil(queue, "bad")
    seen: list[int] = []

    @queue.every("100ms")
    async def beat() -> None:
        seen.append(1)

    async with Worker(queue):
        await wait_until(lambda: len(seen) > 2, "ticks of another schedule")
        del seen[:]
        await spoil(queue, "bad")
        await wait_until(lambda: len(seen) > 2, "further ticks")
    assert len([one for one in caplog.messages if "'bad' is not fired" in one]) == 1
