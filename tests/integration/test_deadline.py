"""By when a job must have ended, with all that it enqueues."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from aiostreamq import Context, JobExpired, JobTimeout, Queue, Retry, RetryLater, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.envelope import decode_envelope
from tests.support import cpu_jobs
from tests.support.waiting import PATIENCE, be_in_time


async def deadlines_of_delayed(queue: Queue) -> list[float | None]:
    """The deadlines of what waits for later."""
    broker = core_of(queue).session().store
    found: list[float | None] = []
    for one in cast("list[bytes]", await broker.call("ZRANGE", broker.keys.delayed, 0, -1)):
        envelope = await broker.call("HGET", broker.keys.job(one.decode()), "p")
        found.append(decode_envelope(cast("bytes", envelope)).deadline)
    return found


async def test_past_it(queue: Queue) -> None:
    """It is not started, be it the first attempt or a later one."""
    ran: list[int] = []

    @queue.task
    async def note(n: int) -> None:
        ran.append(n)
        raise RetryLater(0.001)

    moment = datetime.now(UTC)
    late = await note.using(deadline=moment - timedelta(seconds=1)).enqueue(1)
    far = await note.using(retry=Retry(2), deadline="1h").enqueue(2)
    async with Worker(queue):
        with pytest.raises(JobExpired):
            await late.result(timeout=PATIENCE)
        with pytest.raises(Exception, match="again after"):
            await far.result(timeout=PATIENCE)
    assert ran == [2, 2]


async def test_stops_what_runs(queue: Queue) -> None:
    """As a timeout does, but there is no further attempt."""
    starts = 0

    @queue.task(retry=Retry(5, base=0.001), timeout="1h")
    async def hang() -> None:
        nonlocal starts
        starts += 1
        await asyncio.Event().wait()

    async def is_stopped(soon: float) -> bool:
        job = await hang.using(deadline=soon).enqueue()
        with pytest.raises((JobTimeout, JobExpired)) as caught:
            await job.result(timeout=PATIENCE)
        is_late = caught.type is JobExpired
        assert is_late or "past its timeout or deadline" in str(caught.value)
        return not is_late

    async with Worker(queue):
        await be_in_time(is_stopped)
    assert starts == 1


async def test_no_attempt_beyond_it(queue: Queue) -> None:
    """What would run again only after it has failed."""

    @queue.task(retry=Retry(5, backoff="fixed", base=60))
    async def fail() -> None:
        raise ValueError("no")

    async with Worker(queue):
        job = await fail.using(deadline="10s").enqueue()
        with pytest.raises(Exception, match="no"):
            await job.result(timeout=PATIENCE)


async def test_goes_along(queue: Queue) -> None:
    """Jobs of jobs have it, from coroutines and from threads; others of the same worker do not."""
    loop = asyncio.get_running_loop()

    @queue.task
    async def leaf() -> None:
        pass

    async def put() -> None:
        await leaf.using(delay="1h").enqueue()

    @queue.task
    async def parent() -> None:
        await put()
        await leaf.using(delay="1h", deadline="10h").enqueue()
        await leaf.using(delay="1h", deadline="1m").enqueue()

    @queue.task
    def thread() -> None:
        asyncio.run_coroutine_threadsafe(put(), loop).result(PATIENCE)

    limit = datetime.now(UTC) + timedelta(hours=2)
    async with Worker(queue):
        for task in (parent, thread):
            await (await task.using(deadline=limit).enqueue())
            await (await task.enqueue())
    found = await deadlines_of_delayed(queue)
    assert len(found) == 8
    assert found.count(round(limit.timestamp() * 1000)) == 3
    assert found.count(None) == 2


async def test_goes_along_from_a_process(redis_url: str) -> None:
    """What a task in a process enqueues by a queue of its own has it too."""
    cpu_jobs.queue.use_url(redis_url)
    limit = datetime.now(UTC) + timedelta(hours=2)
    put = cpu_jobs.enqueue_by_itself
    async with cpu_jobs.queue as queue, Worker(queue, processes=1):
        await (await put.using(deadline=limit).enqueue(redis_url))
        await (await put.enqueue(redis_url))
        found = await deadlines_of_delayed(queue)
    assert sorted(found, key=str) == [round(limit.timestamp() * 1000), None]


async def test_task_knows_its_deadline(queue: Queue) -> None:
    """A task can know its own."""

    @queue.task
    async def own(context: Context) -> str | None:
        return context.deadline and context.deadline.isoformat(timespec="milliseconds")

    limit = datetime.now(UTC) + timedelta(hours=2)
    async with Worker(queue):
        job = await own.using(deadline=limit).enqueue()
        assert abs(datetime.fromisoformat(await job or "") - limit) < timedelta(milliseconds=1)
        assert await (await own.enqueue()) is None


async def test_mistakes(queue: Queue) -> None:
    """A deadline that cannot be meant is refused where it is said."""

    @queue.task
    async def add() -> None:
        pass

    with pytest.raises(UsageError, match="deadline=0 would never let the job run"):
        add.using(deadline=0)
    with pytest.raises(UsageError, match=r"deadline=.* has no time zone"):
        add.using(deadline=datetime(2030, 1, 1))  # noqa: DTZ001  # the mistake
    with pytest.raises(UsageError, match="is not a duration"):
        add.using(deadline="soon")
