"""Faults that tests of applications inject."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import Context, JobState, Queue
from aiostreamq.testing import IsolatedQueue, isolated

app = Queue("redis://127.0.0.1:1", name="app")
runs: list[int] = []


@app.task
async def count(context: Context) -> int:
    """Note the number of the delivery."""
    runs.append(context.delivery)
    return context.delivery


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget the runs."""
    runs.clear()


@pytest.fixture(params=["memory", "redis"])
async def test(request: pytest.FixtureRequest) -> AsyncIterator[IsolatedQueue]:
    """The application's queue, with a lease that a test can wait for."""
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    async with isolated(app, url, lease=1) as test:
        yield test


async def test_killed_after_pickup(test: IsolatedQueue) -> None:
    """The job runs again once the lease is over, and only it."""
    await count.enqueue()
    test.kill_after_pickup()
    ran = await test.run_all()
    assert [(run.state, run.value) for run in ran] == [(JobState.QUEUED, None), (JobState.DONE, 2)]
    await count.enqueue()
    assert [run.value for run in await test.run_all()] == [1]


async def test_killed_under_a_clock() -> None:
    """The lease passes by the clock."""
    async with isolated(app, lease="15s") as test:
        now = test.stop_clock()
        job = await count.enqueue()
        test.kill_after_pickup()
        await now.advance("10s")
        assert await job.status() is JobState.RUNNING
        await now.advance("10s")
        assert await job.status() is JobState.DONE
        assert runs[-1] == 2


async def test_lost_ack(test: IsolatedQueue) -> None:
    """The job has ended, and is not run again."""
    for times in (1, 2):
        runs.clear()
        job = await count.enqueue()
        test.lose_ack(times)
        await test.run_all()
        assert await job.status() is JobState.DONE
        assert runs == [1]


async def test_slow_redis(test: IsolatedQueue) -> None:
    """Jobs run, later."""
    await count.enqueue()
    test.slow_redis("20ms")
    assert [run.value for run in await test.run_all()] == [1]
    test.slow_redis(0)
    await count.enqueue()
    assert [run.value for run in await test.run_all()] == [1]


async def test_slow_redis_under_a_clock() -> None:
    """It takes no real time."""
    async with isolated(app) as test:
        now = test.stop_clock()
        before = now.now
        await count.enqueue()
        test.slow_redis("10s")
        assert [run.value for run in await test.run_all()] == [1]
        assert (now.now - before).total_seconds() >= 30
        test.slow_redis(0)
