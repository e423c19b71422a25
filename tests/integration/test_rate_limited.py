"""Jobs that were refused by an API wait for its limit, on all workers, and lose no attempt."""

import asyncio
import logging
import time
from itertools import pairwise
from typing import Any

import pytest

from aiostreamq import (
    CallNext,
    Concurrency,
    Context,
    JobExpired,
    JobFailed,
    JobState,
    Queue,
    Rate,
    RateLimited,
    Retry,
    RunCall,
    Worker,
)
from aiostreamq.model.verdict import SHORTEST_QUIET
from aiostreamq.telemetry import JobEnded, JobRetried, TelemetryEvent
from aiostreamq.testing import isolated
from tests.support.waiting import PATIENCE, wait_until

API = Rate("1000/s", name="api")

QUIET = 0.2


class Calls:
    """The requests to an API, which refuses some."""

    def __init__(self, *refused: object) -> None:
        self.made: list[tuple[object, int, int, float]] = []  #: what, attempt, delivery, when
        self.left = list(refused)

    def make(self, what: object, ctx: Context, after: Any = QUIET, limit: str = "api") -> None:
        """Make a request; raise if it is to be refused."""
        now = asyncio.get_running_loop().time()
        self.made.append((what, ctx.attempt, ctx.delivery, now))
        if what in self.left:
            self.left.remove(what)
            raise RateLimited(limit, after)


async def test_runs_again_without_a_new_attempt(store_url: str) -> None:
    """It is held, in its place, until the limit may be used again; so are those behind it."""
    queue, calls = Queue(store_url), Calls(0, 0)

    @queue.task(limits=[API], retry=Retry(1))
    async def ask(ctx: Context, number: int) -> int:
        calls.make(number, ctx)
        return number

    async with queue, Worker(queue, concurrency=1):
        jobs = [await ask.enqueue(0)]
        await wait_until(lambda: calls.made, "the first call")

        async def is_held() -> bool:
            return await jobs[0].status() == JobState.HELD

        await wait_until(is_held, "the job to be held")
        jobs += [await ask.enqueue(number) for number in (1, 2)]
        info = await jobs[2].info()
        assert info.wait is not None
        (state,) = info.wait.limits
        assert (info.wait.limit, state.quieted_by) == ("api", jobs[0].id)
        assert info.wait.until == state.quiet_until is not None
        assert [await job.result(timeout=PATIENCE) for job in jobs] == [0, 1, 2]
    made = [one[:3] for one in calls.made]
    assert made[:2] == [(0, 1, 1), (0, 1, 2)], "its place in line is before the others"
    # The worker may have read the second job ahead when the first one was refused again.
    assert sorted(made, key=str) == [
        *((0, 1, number) for number in (1, 2, 3)),
        (1, 1, 1),
        (2, 1, 1),
    ]
    times = [one[3] for one in calls.made if one[0] == 0]
    assert times[1] - times[0] >= QUIET - 0.01
    assert times[2] - times[1] >= QUIET - 0.01


async def test_all_workers_heed_it(store_url: str) -> None:
    """And all tasks that share the limit; other values of its key go on."""
    queue, other, calls = Queue(store_url), Queue(store_url), Calls("a")
    limit = Rate("1000/s", name="api", key="model")

    @queue.task(limits=[limit])
    async def ask(ctx: Context, model: str) -> str:
        calls.make(model, ctx, after=3600)
        return model

    @other.task(limits=[limit])
    async def draw(ctx: Context, model: str) -> str:
        calls.make(f"draw {model}", ctx)
        return model

    async with queue, other, Worker(queue), Worker(other):
        first = await ask.enqueue("a")
        await wait_until(lambda: calls.made, "the first call")

        async def is_quiet() -> bool:
            return bool([one for one in await queue.limits.get("api:a") if one.quiet_until])

        await wait_until(is_quiet, "the limit to be quiet")
        held = await draw.enqueue("a")
        assert await (await draw.enqueue("b")).result(timeout=PATIENCE) == "b"
        assert await held.status() == JobState.HELD
        assert await queue.limits.end_quiet("api:a") == 1
        assert await held.result(timeout=PATIENCE) == "a"
        assert await first.result(timeout=PATIENCE) == "a"


async def test_cancelled_while_it_waits_again(store_url: str) -> None:
    """As any held job."""
    queue, calls = Queue(store_url), Calls("a")

    @queue.task(limits=[API, Concurrency(1)])
    async def ask(ctx: Context, what: str) -> str:
        calls.make(what, ctx, after="1h")
        return what

    async with queue, Worker(queue):
        job = await ask.enqueue("a")

        async def is_held() -> bool:
            return await job.status() == JobState.HELD and bool(calls.made)

        await wait_until(is_held, "the job to be held")
        assert await job.cancel() == JobState.HELD
        assert await job.status() == JobState.CANCELLED
        assert await queue.limits.end_quiet("api") == 1
        assert await (await ask.enqueue("b")).result(timeout=PATIENCE) == "b"


async def test_expires_while_it_waits_again(store_url: str) -> None:
    """It has not begun what it was to do, so `expires` still holds."""
    queue, calls = Queue(store_url), Calls("a")

    @queue.task(limits=[API])
    async def ask(ctx: Context, what: str) -> str:
        calls.make(what, ctx)
        return what

    async with queue, Worker(queue):
        with pytest.raises(JobExpired):
            await (await ask.using(expires=QUIET / 2).enqueue("a")).result(timeout=PATIENCE)
    assert len(calls.made) == 1


@pytest.mark.parametrize("name", ["apl", "ask", "api:a"])
async def test_unknown_limit(store_url: str, name: str) -> None:
    """The job fails, and says what is wrong, also if the limit is one of concurrency."""
    queue = Queue(store_url)

    @queue.task(limits=[API, Concurrency(1)])
    async def ask() -> None:
        raise RateLimited(name, after=1)

    async with queue, Worker(queue):
        with pytest.raises(JobFailed, match=f"'{name}'.*task 'ask' has no Rate of this name") as no:
            await (await ask.enqueue()).result(timeout=PATIENCE)
    assert no.value.type == "aiostreamq.errors.UsageError"


async def test_unknown_limit_is_retried_as_any_error(store_url: str) -> None:
    """By the rules of the task."""
    queue, attempts = Queue(store_url), list[int]()

    @queue.task(retry=Retry(3, base=0))
    async def ask(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise RateLimited("api", after=1)

    async with queue, Worker(queue):
        with pytest.raises(JobFailed):
            await (await ask.enqueue()).result(timeout=PATIENCE)
    assert attempts == [1, 2, 3]


async def test_middleware(store_url: str) -> None:
    """It sees the exception, and may swallow it: the job has ended well then."""
    queue, seen = Queue(store_url), list[str]()

    @queue.middleware
    async def swallow(call: RunCall, call_next: CallNext) -> object:
        try:
            return await call_next()
        except RateLimited as error:
            seen.append(error.limit)
            return -1

    @queue.task(limits=[API])
    async def ask() -> int:
        raise RateLimited("api", after="1h")

    async with queue, Worker(queue):
        assert await (await ask.enqueue()).result(timeout=PATIENCE) == -1
        assert await queue.limits.end_quiet("api") == 0
    assert seen == ["api"]


async def test_thread(store_url: str) -> None:
    """A `def` raises it too."""
    queue, deliveries = Queue(store_url), list[int]()

    @queue.task(limits=[API])
    def ask(ctx: Context) -> int:
        deliveries.append(ctx.delivery)
        if ctx.delivery == 1:
            raise RateLimited("api", after=0.001)
        return ctx.attempt

    async with queue, Worker(queue):
        assert await (await ask.enqueue()).result(timeout=PATIENCE) == 1
    assert deliveries == [1, 2]


async def test_listeners_and_log(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A run that was refused is one that is run again; the log says for which limit, once."""
    caplog.set_level(logging.INFO, "aiostreamq.worker")
    queue, calls, events = Queue(store_url), Calls("a"), list[TelemetryEvent]()
    queue.on_event(events.append)

    @queue.task(limits=[API])
    async def ask(ctx: Context, what: str) -> str:
        calls.make(what, ctx, after=0.05)
        return what

    async with queue, Worker(queue):
        await (await ask.enqueue("a")).result(timeout=PATIENCE)
    ends = [one for one in events if isinstance(one, JobRetried | JobEnded)]
    again, ended = ends
    assert isinstance(again, JobRetried)
    assert (again.attempt, again.after_seconds, ended.attempt) == (1, 0.05, 1)
    assert isinstance(again.error, RateLimited)
    lines = [one.getMessage() for one in caplog.records if "held again" in one.getMessage()]
    assert lines == ["job is held again: limit api is quiet for 0.1 s"]


async def test_isolated_queue() -> None:
    """A test sees the run, and can let the time pass."""
    queue, calls = Queue(name="app"), Calls("a")

    @queue.task(limits=[API])
    async def ask(ctx: Context, what: str) -> str:
        calls.make(what, ctx, after="1m")
        return what

    async with isolated(queue) as test:
        clock = test.stop_clock()
        job = await ask.enqueue("a")
        (run,) = await test.run_all()
        assert (run.state, run.attempt, run.retry_after) == (JobState.HELD, 1, 60)
        await clock.advance("59s")
        assert await job.status() == JobState.HELD
        await clock.advance("2s")
        assert await job.status() == JobState.DONE
        calls.left.append("a")
        with pytest.raises(RateLimited):
            await test.perform(ask, "a")


async def test_no_time(store_url: str) -> None:
    """An API that says to try again at once is not asked again and again without a pause."""
    queue, starts = Queue(store_url), list[float]()

    @queue.task(limits=[API])
    async def ask(ctx: Context) -> None:
        starts.append(time.monotonic())
        if ctx.delivery < 4:
            raise RateLimited("api", after=0)

    async with queue, Worker(queue):
        await (await ask.enqueue()).result(timeout=PATIENCE)
    pauses = [late - early for early, late in pairwise(starts)]
    assert len(pauses) == 3
    assert min(pauses) > 0.8 * SHORTEST_QUIET
