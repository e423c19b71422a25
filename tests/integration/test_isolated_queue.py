"""An application's queue on a Redis of a test's own."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from aiostreamq import (
    JobExpired,
    JobState,
    Queue,
    QueueUnavailable,
    Retry,
    Tasks,
    UsageError,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.testing import IsolatedQueue, PrivateRedis, RunOutcome, isolated
from tests.support.waiting import PATIENCE

NOWHERE = "redis://127.0.0.1:1"

app = Queue(NOWHERE, name="app", enqueue_timeout=0.1)


@app.task
async def count_down(number: int) -> int:
    """Enqueue what follows, and return the number."""
    if number:
        await count_down.enqueue(number - 1)
    return number


@app.task
def double(number: int) -> int:
    """Run in a thread."""
    return 2 * number


@app.task(retry=Retry(attempts=2, backoff=[0]))
async def fail_once(seen: list[int]) -> None:
    """Fail in the first attempt, and in the second."""
    raise ValueError(len(seen))


@app.task(result_ttl=0)
async def keep_nothing() -> int:
    """Return what is not kept."""
    return 1


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of an empty Redis: in memory, or a real one."""
    if request.param == "memory":
        return "memory://"
    found: str = request.getfixturevalue("redis_url")
    return found


def summary(runs: list[RunOutcome]) -> list[tuple[str, int, JobState, object]]:
    """Return what runs are about, without their ids."""
    return [(run.task, run.attempt, run.state, run.value) for run in runs]


async def test_runs_all_that_is_due(url: str) -> None:
    """With what jobs enqueue and retry, in their order; what is for later stays."""
    async with isolated(app, url) as test:
        await count_down.enqueue(2)
        assert summary(await test.run_all()) == [
            ("count_down", 1, JobState.DONE, number) for number in (2, 1, 0)
        ]
        await fail_once.enqueue([])
        later = await double.using(delay="1h").enqueue(2)
        ran = await test.run_all()
        assert [run.state for run in ran] == [JobState.DELAYED, JobState.FAILED]
        assert [run.retry_after for run in ran] == [0, None]
        with pytest.raises(ValueError, match="0"):
            ran[1].result()
        await double.enqueue(3)
        assert [run.result() for run in await test.run_all()] == [6]
        assert await later.status() is JobState.DELAYED
        assert len(test.runs) == 6


async def test_runs_one_at_a_time(url: str) -> None:
    """The first that is due, and no other is touched."""
    async with isolated(app, url) as test:
        for number in range(3):
            await double.enqueue(number)
        for number in range(3):
            ran = await test.run_one()
            assert ran is not None
            assert ran.result() == 2 * number
            assert (await app.info()).waiting == 2 - number
            assert {job.delivery async for job in app.jobs(state="queued")} <= {1}
        assert await test.run_one() is None


async def test_run_without_result(url: str) -> None:
    """A job that keeps none has no value, and one that never ran has its reason."""
    async with isolated(app, url) as test:
        await keep_nothing.enqueue()
        await double.using(expires=0.001).enqueue(1)
        await asyncio.to_thread(lambda: None)
        kept, expired = sorted(await test.run_all(), key=lambda run: run.task, reverse=True)
        assert kept.result() is None
        assert expired.task == "double"
        if expired.state is JobState.EXPIRED:  # by the time that a worker has come
            with pytest.raises(JobExpired):
                expired.result()


async def test_runs_without_values() -> None:
    """A value that was not read is not taken for None: the error says how to read it."""
    async with isolated(app) as test:
        await double.enqueue(2)
        (run,), (same,) = await test.run_all(), test.runs
        assert (run.result(), run.has_value, same.has_value) == (4, True, False)
        with pytest.raises(UsageError, match=r"'double' was not read: write `await queue.job"):
            same.result()
        assert await app.job(same.job_id) == 4


async def test_application_uses_its_own_redis_before_and_after() -> None:
    """And its own worker and listeners inside."""
    seen: list[object] = []
    with pytest.raises(QueueUnavailable):
        await double.enqueue(1)
    await app.aclose()
    app.on_event(seen.append)
    async with isolated(app) as test, app, Worker(app):
        assert await (await double.enqueue(1)).result(timeout=PATIENCE) == 2
    with pytest.raises(UsageError, match="not isolated"):
        _ = test.runs
    with pytest.raises(QueueUnavailable):
        await double.enqueue(1)
    await app.aclose()
    assert [type(event).__name__ for event in seen if "Job" in type(event).__name__] == [
        *("JobEnqueued", "JobDelivered", "JobStarted", "JobEnded")
    ]


async def test_each_begins_empty() -> None:
    """A test finds nothing of the test before."""
    for _ in range(2):
        async with isolated(app):
            await double.enqueue(1)
            assert (await app.info()).waiting == 1


@pytest.mark.parametrize("given", [None, "app:queue", Tasks()])
def test_takes_a_queue(given: Any) -> None:
    """Anything but a queue is refused at once."""
    with pytest.raises(UsageError, match="isolated takes the Queue"):
        isolated(given)


async def test_refuses_what_would_mix() -> None:
    """A queue that is open, or isolated, keeps its Redis."""
    async with isolated(app):
        with pytest.raises(UsageError, match="isolated already"):
            isolated(app).begin()
    async with Queue("memory://") as queue:
        with pytest.raises(UsageError, match="is open"):
            isolated(queue).begin()
    with pytest.raises(UsageError):
        isolated(app, "http://localhost").begin()


def in_one_loop(test: IsolatedQueue) -> None:
    """Use it in one event loop."""
    asyncio.run(use(test))


def in_two_loops(test: IsolatedQueue) -> None:
    """Use it in one after the other."""
    asyncio.run(app.enqueue("double", 1))
    assert asyncio.run(test.run_all())[0].result() == 2


def in_a_loop_that_stays(test: IsolatedQueue) -> None:
    """Use it in a loop that is not closed before the end."""
    with asyncio.Runner() as runner:
        runner.run(use(test))
        test.end()


async def use(test: IsolatedQueue) -> None:
    """Run a job."""
    await double.enqueue(1)
    assert [run.result() for run in await test.run_all()] == [2]


@pytest.mark.parametrize("ways", [in_one_loop, in_two_loops, in_a_loop_that_stays])
def test_begins_and_ends_without_a_loop(ways: Callable[[IsolatedQueue], None]) -> None:
    """As a fixture does, whatever becomes of the loop of the test."""
    for _ in range(2):
        test = isolated(app).begin()
        ways(test)
        test.end()
        test.end()


async def test_ended_workers_are_forgotten() -> None:
    """The queue tells them nothing any more, also before their garbage is collected."""
    queue = Queue(NOWHERE)

    @queue.task
    async def say() -> None:
        pass

    gc.disable()
    try:
        async with isolated(queue) as test:
            await say.enqueue()
            await test.run_all()
            assert not core_of(queue).listeners.children
    finally:
        gc.enable()


@pytest.mark.may_block("a fixture starts the server outside of the event loop")
async def test_private_redis() -> None:
    """It is real, empty after a flush, and gone after its end."""
    with PrivateRedis() as server:
        async with isolated(app, server.url) as test:
            await double.enqueue(4)
            assert [run.result() for run in await test.run_all()] == [8]
        server.flush()
        async with Queue(server.url, name="app") as queue:
            assert [job async for job in queue.jobs()] == []
    for use_it in (lambda: server.url, server.flush):
        with pytest.raises(UsageError, match="not been started"):
            use_it()


@pytest.mark.parametrize("program", ["/no/such/program", "/bin/false"])
def test_private_redis_that_does_not_start(program: str) -> None:
    """It is named."""
    with pytest.raises((UsageError, FileNotFoundError), match=program):
        PrivateRedis(program).start()
