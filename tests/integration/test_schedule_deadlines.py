"""By when the jobs of a schedule must have ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from aiostreamq import Context, Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.envelope import decode_envelope
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from aiostreamq import Job


async def definition_of(queue: Queue, name: str) -> bytes:
    """What is kept of a schedule."""
    broker = core_of(queue).session().store
    return cast("bytes", await broker.call("HGET", broker.keys.schedules, name))


async def deadline_of(queue: Queue, job: Job[object]) -> float | None:
    """By when a job that waits must have ended, ms since 1970."""
    broker = core_of(queue).session().store
    entry = await broker.call("HGET", broker.keys.job(job.id), "e")
    stream = broker.keys.stream("default")
    found = await broker.call("XRANGE", stream, cast("bytes", entry), cast("bytes", entry))
    [(_, fields)] = cast("list[tuple[bytes, list[bytes]]]", found)
    return decode_envelope(fields[fields.index(b"job") + 1]).deadline


async def test_each_tick_has_its_own(queue: Queue) -> None:
    """A length of time begins with each tick, however long ago the schedule was made."""
    ends: list[timedelta] = []

    @queue.task
    async def beat(context: Context) -> None:
        assert context.scheduled_for is not None
        assert context.deadline is not None
        ends.append(context.deadline - context.scheduled_for)

    async with Worker(queue):
        await queue.schedules.create("made", beat.using(deadline="300ms"), every="200ms")
        await wait_until(lambda: len(ends) > 4, "ticks after the first one's deadline")
    # From when it is fired, which may be late.
    assert min(ends) >= timedelta(milliseconds=300)


async def test_code_says_the_same_at_each_start(queue: Queue) -> None:
    """A worker that starts an hour later changes nothing of the schedule: no tick is lost."""

    @queue.task
    async def report() -> None: ...

    limited = report.using(deadline="10m")
    queue.cron("@daily", name="report")(limited)
    async with Worker(queue):
        first = await definition_of(queue, "report")
    clock = core_of(queue).session().store.clock
    before = clock.now_ms()
    await wait_until(lambda: clock.now_ms() > before + 1, "another time to reckon from")
    async with Worker(queue):
        assert await definition_of(queue, "report") == first
    assert (await queue.schedules.get("report")).definition.deadline == 600_000


async def test_fixed_time(queue: Queue) -> None:
    """A datetime stays what it is, for all ticks."""

    @queue.task
    async def report() -> None: ...

    limit = datetime.now(UTC) + timedelta(days=2)
    made = await queue.schedules.create("a", report.using(deadline=limit), cron="@daily")
    assert made.definition.deadline is None
    job = await queue.schedules.trigger("a")
    assert await deadline_of(queue, job) == round(limit.timestamp() * 1000)


async def test_schedule_outlives_the_job_that_makes_it(queue: Queue) -> None:
    """The deadline of a job that makes a schedule is not that of its ticks."""

    @queue.task
    async def report() -> None: ...

    @queue.task
    async def plan() -> None:
        await queue.schedules.create("none", report, every="1h")
        await queue.schedules.create("own", report.using(deadline="10m"), every="1h")

    async with Worker(queue):
        await (await plan.using(deadline="1m").enqueue())
    for name, own in (("none", None), ("own", 600_000)):
        definition = (await queue.schedules.get(name)).definition
        assert definition.deadline == own
        assert "deadline" not in definition.envelope


async def test_job_that_a_job_triggers(queue: Queue) -> None:
    """It is enqueued by that job, so it has its deadline, where its own is not the earlier."""
    seen: dict[str, datetime | None] = {}

    @queue.task
    async def report(context: Context, name: str) -> None:
        seen[name] = context.deadline

    @queue.task
    async def trigger() -> None:
        for name in ("none", "early", "late"):
            await queue.schedules.trigger(name)

    for name, own in (("none", None), ("early", "1m"), ("late", "10d")):
        call = report.using(deadline=own).bind(name)
        await queue.schedules.create(name, call, cron="@yearly")
    limit = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    async with Worker(queue):
        await trigger.using(deadline=limit).enqueue()
        await wait_until(lambda: len(seen) == 3, "all three jobs")
    assert seen["none"] == seen["late"] == limit
    assert seen["early"] is not None
    assert seen["early"] < limit - timedelta(hours=1)
