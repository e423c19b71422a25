"""Jobs that never end in a test: the call that runs them fails, and says which they are."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest

from aiostreamq import Queue, RetryLater, Task, UsageError
from aiostreamq.testing import IsolatedQueue, isolated

START = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = 40

app = Queue("redis://127.0.0.1:1", name="endless")


@app.task
async def again() -> None:
    """Enqueue itself."""
    await again.enqueue()


@app.task
async def ping() -> None:
    """Enqueue another."""
    await pong.enqueue()


@app.task
async def pong() -> None:
    """Enqueue the other."""
    await ping.enqueue()


@app.task
async def retried() -> None:
    """Ask to run again at once."""
    raise RetryLater(0)


@app.task
async def twins() -> None:
    """Become more and more."""
    await app.enqueue_many([twins.bind(), twins.bind()])


@app.task
async def sleepy() -> None:
    """Sleep for ever, a second at a time."""
    for _ in count():
        await asyncio.sleep(1)


@app.task
async def once() -> None:
    """Be done."""


async def run_all(test: IsolatedQueue) -> None:
    """Run what is due, in real time."""
    await test.run_all(most_runs=LIMIT)


async def run_all_by_clock(test: IsolatedQueue) -> None:
    """Run what is due, under a clock."""
    test.stop_clock(START)
    await test.run_all(most_runs=LIMIT)


async def advance(test: IsolatedQueue) -> None:
    """Let time pass."""
    await test.stop_clock(START).advance("1m", most_runs=LIMIT)


async def advance_to(test: IsolatedQueue) -> None:
    """Let time pass until a moment."""
    clock = test.stop_clock(START)
    await clock.advance_to(START + timedelta(minutes=1), most_runs=LIMIT)


CALLS = [run_all, run_all_by_clock, advance, advance_to]
Run = Callable[[IsolatedQueue], Awaitable[None]]


@pytest.mark.parametrize("run", CALLS)
@pytest.mark.parametrize("task", [again, ping, retried, twins], ids=lambda task: task.name)
async def test_endless_at_one_moment(run: Run, task: Task[[], None]) -> None:
    """The error has the limit and the task, says what to do, and the isolation ends in order."""
    async with isolated(app) as test:
        await task.enqueue()
        with pytest.raises(UsageError) as raised:
            await run(test)
        found = str(raised.value)
        assert f"more than {LIMIT} runs" in found
        name = task.name
        assert repr(name) in found
        assert "enqueue or retry each other at once" in found
        assert f"run_one(), or raise most_runs={LIMIT}" in found
        assert LIMIT < len(test.runs) + 1 <= 5 * LIMIT


@pytest.mark.parametrize("run", CALLS)
async def test_as_many_as_the_limit(run: Run) -> None:
    """The limit itself is allowed, and counts for one call."""
    async with isolated(app) as test:
        await app.enqueue_many([once.bind()] * LIMIT)
        await run(test)
        assert len(test.runs) == LIMIT
        await app.enqueue_many([once.bind()] * LIMIT)
        await test.run_all(most_runs=LIMIT)


async def test_more_ticks_than_the_limit() -> None:
    """A schedule that fires often is named, and the time stays where it is."""
    queue = Queue(name="often")

    @queue.every(0.1)
    async def tick() -> None:
        pass

    async with isolated(queue) as test:
        clock = test.stop_clock(START)
        with pytest.raises(UsageError, match=r"advance has begun .* 41 of task 'tick'\. Let less"):
            await clock.advance(timedelta(days=365), most_runs=LIMIT)
        assert clock.now - START < timedelta(seconds=(LIMIT + 2) * 0.1)
        before = len(test.runs)
        await clock.advance(2, most_runs=LIMIT)
        assert len(test.runs) == before + 20


@pytest.mark.parametrize("call", ["advance", "run_all", "run_one"])
async def test_more_moments_than_the_limit(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that sleeps for ever ends the call too, although it is one run."""
    monkeypatch.setattr("aiostreamq.testing.worker_runs.MOST_RUNS", LIMIT)
    async with isolated(app) as test:
        clock = test.stop_clock(START)
        await sleepy.enqueue()
        calls = {
            "advance": clock.advance(timedelta(days=365), most_runs=LIMIT),
            "run_all": test.run_all(most_runs=LIMIT),
            "run_one": test.run_one(),
        }
        running = calls.pop(call)
        for other in calls.values():
            other.close()
        with pytest.raises(UsageError, match=f"{call} has stopped the clock 400 times, 1 of task"):
            await running


@pytest.mark.parametrize("most", [0, -1, 1.5, "9", None, True])
@pytest.mark.parametrize("call", ["run_all", "advance"])
async def test_invalid_limits(call: str, most: Any) -> None:
    """A limit is an integer from 1."""
    async with isolated(app) as test:
        clock = test.stop_clock(START)
        run: Any = partial(clock.advance, 1) if call == "advance" else test.run_all
        with pytest.raises(UsageError, match=f"{call}: most_runs must be an integer from 1"):
            await run(most_runs=most)
        await clock.advance(1)
