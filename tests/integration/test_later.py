"""Delays and retries, through the public face."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from aiostreamq import (
    Context,
    Drop,
    GiveUp,
    JobDead,
    JobDropped,
    JobExpired,
    JobFailed,
    JobState,
    JobTimeout,
    Queue,
    Retry,
    RetryLater,
    Worker,
)
from aiostreamq.client.core import core_of
from tests.support.waiting import PATIENCE, be_in_time

AT_ONCE = Retry(3, base=0)


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue, with nobody working on it."""
    async with Queue(store_url) as queue:
        yield queue


async def test_job_runs_until_it_succeeds(queue: Queue) -> None:
    """Attempts are counted, the id stays, and whoever awaits sees only the end."""
    seen: list[tuple[str, int, int]] = []

    @queue.task(retry=AT_ONCE)
    async def flaky(context: Context) -> int:
        seen.append((context.job_id, context.attempt, context.delivery))
        if context.attempt < 3:
            raise ValueError(context.attempt)
        return context.attempt

    async with Worker(queue):
        job = await flaky.enqueue()
        assert await job == 3
    assert seen == [(job.id, 1, 1), (job.id, 2, 2), (job.id, 3, 3)]


async def test_job_fails_with_the_last_exception(queue: Queue) -> None:
    """When no attempt is left the job has failed, with what the last one raised."""

    @queue.task(retry=AT_ONCE)
    async def hopeless(context: Context) -> None:
        raise ValueError(f"attempt {context.attempt}")

    async with Worker(queue):
        with pytest.raises(JobFailed, match="ValueError: attempt 3"):
            await (await hopeless.enqueue())
        with pytest.raises(JobFailed, match="ValueError: attempt 1"):
            await (await hopeless.using(retry=None).enqueue())
        with pytest.raises(JobFailed, match="ValueError: attempt 5"):
            await (await hopeless.using(retry=Retry(5, base=0)).enqueue())


@pytest.mark.parametrize("are_said_for_the_job", [False, True])
async def test_each_exception_has_its_rule(queue: Queue, are_said_for_the_job: bool) -> None:
    """The first that covers it decides, and attempts are those of the job; so for one job alone."""
    rules = (Retry(4, on=(ConnectionError,), base=0), Retry(2, on=(OSError,), base=0))

    @queue.task(retry=None if are_said_for_the_job else rules)
    async def fetch(context: Context, errors: list[str]) -> int:
        for error, kind in (("line", ConnectionError), ("disk", OSError), ("code", ValueError)):
            if errors[context.attempt - 1 : context.attempt] == [error]:
                raise kind(f"{error} {context.attempt}")
        return context.attempt

    one = fetch.using(retry=rules) if are_said_for_the_job else fetch
    async with Worker(queue):
        assert await (await one.enqueue(["line"] * 3)) == 4
        assert await (await one.enqueue(["disk", "line", "line"])) == 4
        for errors, last in (
            (["line"] * 4, "ConnectionError: line 4"),
            (["disk"] * 2, "OSError: disk 2"),
            (["line", "line", "disk"], "OSError: disk 3"),
            (["code"], "ValueError: code 1"),
        ):
            with pytest.raises(JobFailed, match=last):
                await (await one.enqueue(errors))


async def test_timeout_is_retried_like_an_error(queue: Queue) -> None:
    """A rule that covers TimeoutError covers the task's own timeout; the end says so."""
    runs: list[int] = []

    @queue.task(timeout=0.2, retry=Retry(2, on=(TimeoutError,), base=0))
    async def endless(context: Context) -> None:
        runs.append(context.attempt)
        await asyncio.Event().wait()

    async with Worker(queue):
        with pytest.raises(JobTimeout):
            await (await endless.enqueue())
    assert runs == [1, 2]


async def test_task_steers(queue: Queue) -> None:
    """It may ask to run later, and end the job without a result."""

    @queue.task
    async def picky(context: Context) -> None:
        if context.attempt == 1:
            raise RetryLater("20ms")
        raise Drop("not needed any more \udc80")

    async with Worker(queue):
        job = await picky.enqueue()
        with pytest.raises(JobDropped, match="not needed any more"):
            await job
        assert await job.status() is JobState.DROPPED


async def test_later_at_a_moment(queue: Queue) -> None:
    """A task may say when to run again; a time without zone is the task's own error."""
    ran: list[datetime] = []

    @queue.task
    async def poll(at: datetime) -> None:
        ran.append(datetime.now(UTC))
        if len(ran) == 1:
            raise RetryLater(at)

    moment = datetime.now(UTC) + timedelta(seconds=0.4)
    async with Worker(queue):
        await (await poll.enqueue(moment)).result(timeout=5)
        assert len(ran) == 2
        assert (ran[1] - moment).total_seconds() == pytest.approx(0, abs=0.1)
        ran.clear()
        await (await poll.enqueue(moment)).result(timeout=5)  # it is past: at once
        ran.clear()
        with pytest.raises(JobFailed, match="has no time zone"):
            await (await poll.enqueue(moment.replace(tzinfo=None)))


async def test_task_gives_up(queue: Queue) -> None:
    """A task that raises GiveUp gets no further attempt, and leaves a dead letter."""
    runs: list[int] = []

    @queue.task(retry=Retry(5, base=0.001))
    async def hopeless(context: Context) -> None:
        runs.append(context.attempt)
        raise GiveUp("the account is gone \udc80")

    async with Worker(queue) as worker:
        job = await hopeless.enqueue()
        with pytest.raises(JobDead, match="the account is gone"):
            await job
        assert await job.status() is JobState.DEAD
        broker = core_of(queue).session().store
        letters = await broker.call("XRANGE", broker.keys.dead, "-", "+")
        ((_, fields),) = cast("list[tuple[bytes, list[bytes]]]", letters)
        assert worker.name.encode() in fields
    assert runs == [1]


async def test_started_too_late(queue: Queue) -> None:
    """A job that nobody has started in time never runs, however late workers come."""
    runs: list[str] = []

    @queue.task
    async def note(what: str) -> str:
        runs.append(what)
        return what

    late = await note.using(expires=datetime.now(UTC) - timedelta(seconds=1)).enqueue("late")
    in_time = await note.using(expires="1h").enqueue("in time")
    async with Worker(queue):
        assert await in_time == "in time"
        with pytest.raises(JobExpired):
            await late
        assert await late.status() is JobState.EXPIRED
    assert runs == ["in time"]


async def test_expires_while_delayed(queue: Queue) -> None:
    """The time runs from the enqueue, so a delay may outlast it."""

    @queue.task
    async def note() -> None:
        raise AssertionError

    async with Worker(queue):
        with pytest.raises(JobExpired):
            await (await note.using(delay=0.05, expires=0.02).enqueue())


async def test_retries_do_not_expire(queue: Queue) -> None:
    """A job that was started in time has all its attempts."""

    @queue.task
    async def third(context: Context, soon: float) -> int:
        if context.attempt < 3:
            raise RetryLater(soon * 0.6)
        return context.attempt

    async def start_in_time(soon: float) -> int | None:
        with suppress(JobExpired):
            return await (await third.using(expires=soon).enqueue(soon))
        return None

    async with Worker(queue):
        assert await be_in_time(start_in_time) == 3


async def test_delayed_jobs_start_on_time(queue: Queue) -> None:
    """By delay or by time, never before it, and also when workers sleep until a later one."""

    @queue.task
    async def now() -> float:
        return time.time()

    async with Worker(queue):
        far = await now.using(delay="1h").enqueue()
        began = time.time()
        by_delay = await now.using(delay=0.4).enqueue()
        by_time = await now.using(at=datetime.now(UTC) + timedelta(seconds=0.6)).enqueue()
        # Nothing but the word that something earlier has come wakes the worker here.
        assert await by_delay.result(timeout=PATIENCE) - began >= 0.399  # Redis counts in ms
        assert await by_time.result(timeout=PATIENCE) - began >= 0.599
        assert await far.status() is JobState.DELAYED


async def test_many_for_now_and_for_later(queue: Queue) -> None:
    """Both kinds in one call come back in their order."""

    @queue.task
    async def echo(value: int) -> int:
        return value

    calls = [(echo.using(delay=0.05) if number % 2 else echo).bind(number) for number in range(20)]
    async with Worker(queue):
        jobs = await queue.enqueue_many(calls)
        assert [await job for job in jobs] == list(range(20))


async def test_worker_started_later_finds_what_is_due(queue: Queue) -> None:
    """Nothing about a delay lives in a process."""

    @queue.task
    async def echo(value: int) -> int:
        return value

    jobs = [await echo.using(delay=0.01).enqueue(number) for number in range(10)]
    async with Worker(queue):
        assert [await job for job in jobs] == list(range(10))


async def test_stream_is_deleted_beneath_a_job(queue: Queue) -> None:
    """Its worker has all of it: the next attempt runs, and whoever awaits is told."""
    begun, gate = asyncio.Event(), asyncio.Event()

    @queue.task(retry=AT_ONCE)
    async def flaky(context: Context, value: int) -> int:
        begun.set()
        await gate.wait()
        if context.attempt == 1:
            raise ValueError("no")
        return value

    async with Worker(queue):
        job = await flaky.enqueue(7)
        await begun.wait()
        broker = core_of(queue).session().store
        await broker.call("DEL", broker.keys.stream("default"))
        gate.set()
        assert await job.result(timeout=PATIENCE) == 7
