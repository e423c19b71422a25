"""How tasks run, and how each way to end is reported."""

import asyncio
import contextvars
import threading

import pytest

from aiostreamq import (
    Context,
    Job,
    JobFailed,
    JobState,
    JobTimeout,
    PayloadError,
    Queue,
    Retry,
    UsageError,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.worker.run import stopper
from tests.support.case_ids import short
from tests.support.waiting import PATIENCE, be_in_time, wait_until


class OutOfStock(Exception):
    """An exception of the user's."""


async def test_failure(queue: Queue) -> None:
    """Who awaits gets the exception's type, its message, and the frames of the task alone."""

    def deep_inside() -> None:
        raise OutOfStock("no more tea")

    @queue.task
    async def order() -> None:
        deep_inside()

    async with Worker(queue):
        with pytest.raises(JobFailed, match="no more tea") as caught:
            await (await order.enqueue())
    error = caught.value
    assert error.type == f"{__name__}.OutOfStock"
    assert error.message == "no more tea"
    assert error.traceback.startswith("Traceback (most recent call last)")
    files = [line for line in error.traceback.splitlines() if line.startswith('  File "')]
    assert len(files) == 2
    assert all(__file__ in line for line in files)


async def test_failure_in_a_thread(queue: Queue) -> None:
    """A `def` task fails as an `async def` does."""

    @queue.task
    def order() -> None:
        raise OutOfStock("no more tea")

    async with Worker(queue):
        with pytest.raises(JobFailed, match="no more tea") as caught:
            await (await order.enqueue())
    files = [line for line in caught.value.traceback.splitlines() if line.startswith('  File "')]
    assert [line for line in files if __file__ in line]
    assert not [line for line in files if "/aiostreamq/" in line]


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        asyncio.CancelledError(),
        GeneratorExit(),
        StopIteration(),
        ValueError("\udcff"),
        ExceptionGroup("several", [ValueError(1)]),
        BaseExceptionGroup("worse", [SystemExit()]),
    ],
    ids=short,
)
async def test_anything_raised(queue: Queue, error: BaseException) -> None:
    """Whatever a task raises is its own failure: the worker continues."""

    @queue.task
    async def throw() -> None:
        raise error

    @queue.task
    async def fine() -> int:
        return 1

    async with Worker(queue), asyncio.timeout(PATIENCE):
        with pytest.raises(JobFailed):
            await (await throw.enqueue())
        assert await (await fine.enqueue()) == 1


async def test_result_that_can_not_travel(queue: Queue) -> None:
    """The job fails with the reason."""

    @queue.task
    async def odd() -> object:
        return object()

    @queue.task
    async def nan() -> float:
        return float("nan")

    async with Worker(queue):
        for task in (odd, nan):
            with pytest.raises(JobFailed) as caught:
                await (await task.enqueue())
            assert caught.value.type.endswith(PayloadError.__name__)


async def test_blocking_tasks(queue: Queue) -> None:
    """`def` tasks run in threads: while they block, the loop serves everybody else."""
    gate, now, most = threading.Event(), 0, 0
    counting = threading.Lock()

    @queue.task
    def block() -> bool:
        nonlocal now, most
        with counting:
            now += 1
            most = max(most, now)
        gate.wait(PATIENCE)
        with counting:
            now -= 1
        return threading.current_thread() is threading.main_thread()

    @queue.task
    async def quick(n: int) -> int:
        return n

    async with Worker(queue, threads=2):
        blocked = [await block.enqueue() for _ in range(4)]
        for n in range(20):
            assert await (await quick.enqueue(n)) == n
        gate.set()
        assert [await job for job in blocked] == [False] * 4
    assert most <= 2


async def test_context(store_url: str) -> None:
    """A task is told who it is, whichever way it is called."""
    async with Queue(store_url, name="shop") as queue:

        @queue.task
        async def first(ctx: Context, a: int) -> list[object]:
            return [ctx.job_id, ctx.task, ctx.attempt, ctx.queue is queue, ctx.worker, a]

        @queue.task(name="other")
        def last(a: int, *, ctx: Context) -> list[object]:
            return [ctx.job_id, ctx.task, ctx.attempt, ctx.queue is queue, ctx.worker, a]

        worker = Worker(queue, name="till")
        async with worker:
            job = await first.enqueue(7)
            assert await job == [job.id, "first", 1, True, worker.name, 7]
            named = await first.enqueue(a=7)
            assert await named == [named.id, "first", 1, True, worker.name, 7]
            other = await queue.enqueue("other", 7)
            assert await other == [other.id, "other", 1, True, worker.name, 7]
        assert worker.name.startswith("till-")


async def test_context_variables(queue: Queue) -> None:
    """What one job sets the next does not see."""
    variable = contextvars.ContextVar("variable", default=0)

    @queue.task
    async def bump() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    @queue.task
    def bump_in_thread() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    async with Worker(queue):
        for task in (bump, bump_in_thread):
            assert [await (await task.enqueue()) for _ in range(5)] == [1] * 5


async def test_timeout(queue: Queue) -> None:
    """The task is cancelled and may clean up; the job ends as timed out."""
    cleaned: list[str] = []

    @queue.task(timeout=0.2)
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            cleaned.append("up")

    async with Worker(queue):
        with pytest.raises(JobTimeout) as caught:
            await (await endless.enqueue())
        with pytest.raises(JobTimeout):
            await (await endless.using(timeout="100ms").enqueue())
    assert caught.value.job_id
    assert cleaned == ["up", "up"]


async def test_timeout_of_one_job(queue: Queue) -> None:
    """What is said of one job is over what is said of its task, also that there is none."""

    @queue.task(timeout=0.02)
    async def nap() -> str:
        await asyncio.sleep(0.05)
        return "rested"

    async with Worker(queue):
        assert await (await nap.using(timeout=None).enqueue()) == "rested"
        assert await (await nap.using(timeout=5).enqueue()) == "rested"
        with pytest.raises(JobTimeout):
            await (await nap.enqueue())


async def test_task_that_ignores_its_timeout(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left to itself: the job ends, its slot is free, and its late end changes nothing."""
    monkeypatch.setattr(stopper, "CLEANUP_TIME", 0.02)
    gate = asyncio.Event()
    ended: list[str] = []

    @queue.task(timeout=0.2)
    async def stubborn() -> str:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        ended.append("at last")
        return "at last"

    @queue.task
    async def quick() -> int:
        return 1

    async with Worker(queue, concurrency=1):
        job = await stubborn.enqueue()
        with pytest.raises(JobTimeout):
            await job
        assert await (await quick.enqueue()) == 1
        gate.set()
        await wait_until(lambda: ended, "it to end after all")
        with pytest.raises(JobTimeout):
            await queue.job(job.id)


async def test_thread_past_its_timeout(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Its job ends and its slot is free; that the thread continues is said, and so is its end."""
    gate, begun = threading.Event(), threading.Event()

    @queue.task
    def hang() -> str:
        begun.set()
        gate.wait(PATIENCE)
        return "too late"

    @queue.task
    def quick() -> int:
        return 1

    def said(part: str) -> list[tuple[str, object, object]]:
        return [
            (record.levelname, vars(record)["task"], vars(record)["job_id"])
            for record in caplog.records
            if part in record.message
        ]

    caplog.set_level("INFO", "aiostreamq.worker")

    async def time_out(soon: float) -> Job[str] | None:
        job = await hang.using(timeout=soon).enqueue()
        with pytest.raises(JobTimeout):
            await job.result(timeout=PATIENCE)
        return job if begun.is_set() else None

    async with Worker(queue, concurrency=1, threads=2):
        try:
            job = await be_in_time(time_out)
            assert await (await quick.enqueue()) == 1
            assert said("its thread cannot be stopped") == [("WARNING", "hang", job.id)]
            assert not said("has ended")
        finally:
            gate.set()
        await wait_until(lambda: said("has ended"), "the thread's end to be told")
        assert said("has ended") == [("INFO", "hang", job.id)]
        with pytest.raises(JobTimeout):
            await queue.job(job.id)


async def test_no_more_than_the_concurrency(queue: Queue) -> None:
    """Never more jobs run at once than was said, and never fewer while there are enough."""
    running, most = 0, 0

    @queue.task
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    jobs = await queue.enqueue_many(work.bind() for _ in range(60))
    async with Worker(queue, concurrency=7):
        await asyncio.gather(*jobs)
    assert most == 7


async def test_burst(queue: Queue) -> None:
    """It runs all there is, also what jobs enqueue in between, and returns."""
    ran: list[int] = []

    @queue.task
    async def chain(n: int) -> None:
        ran.append(n)
        if n:
            await chain.enqueue(n - 1)

    await chain.enqueue(5)
    await chain.enqueue(0)
    async with asyncio.timeout(PATIENCE):
        await Worker(queue, concurrency=2).run(burst=True)
        await Worker(queue).run(burst=True)
    assert sorted(ran) == [0, 0, 1, 2, 3, 4, 5]


async def test_burst_with_attempts(queue: Queue) -> None:
    """An attempt that follows at once belongs to what there is, though Redis must be told of it."""
    attempts: list[int] = []

    @queue.task(retry=Retry(5, backoff=[0], jitter=False))
    async def work(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise OutOfStock

    await work.enqueue()
    async with asyncio.timeout(PATIENCE):
        await Worker(queue).run(burst=True)
    assert attempts == [1, 2, 3, 4, 5]


async def test_stopped(queue: Queue) -> None:
    """`stop` lets `run` return after what runs has ended."""
    started, gate = asyncio.Event(), asyncio.Event()

    @queue.task
    async def wait() -> int:
        started.set()
        await gate.wait()
        return 1

    worker = Worker(queue)
    running = asyncio.create_task(worker.run())
    job = await wait.enqueue()
    await started.wait()
    worker.stop()
    await asyncio.sleep(0)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await running
        assert await job == 1


async def test_retired(queue: Queue) -> None:
    """`retire` gives running jobs the time they need; a `stop` after it limits that."""
    started = asyncio.Queue[int]()
    gate = asyncio.Event()

    @queue.task
    async def wait(n: int) -> int:
        started.put_nowait(n)
        await (asyncio.Event() if n else gate).wait()
        return n

    worker = Worker(queue, shutdown_timeout=0)
    running = asyncio.create_task(worker.run())
    jobs = [await wait.enqueue(0), await wait.enqueue(1)]
    assert {await started.get(), await started.get()} == {0, 1}
    worker.drain()
    late = await wait.enqueue(2)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        assert await jobs[0] == 0
        assert worker.finished == 1
        assert not running.done()
        worker.stop()
        await running
    assert await jobs[1].status() is JobState.QUEUED, "it was cut short and handed back"
    assert await late.status() is JobState.QUEUED


async def test_two_workers_share(queue: Queue) -> None:
    """Each job is run once, by one of them."""
    ran: list[int] = []

    @queue.task
    async def note(n: int) -> None:
        ran.append(n)
        await asyncio.sleep(0.001)

    jobs = await queue.enqueue_many(note.bind(n) for n in range(100))
    async with Worker(queue, concurrency=3), Worker(queue, concurrency=3):
        await asyncio.gather(*jobs)
    assert sorted(ran) == list(range(100))


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"threads": 0}, {"processes": 0}, {"shutdown_timeout": -1}]
)
def test_workers_that_can_not_be(wrong: dict[str, int]) -> None:
    """Numbers that can not be meant are refused."""
    with pytest.raises(UsageError):
        Worker(Queue("memory://"), **wrong)  # pyright: ignore[reportArgumentType]  # on purpose


async def test_what_can_not_be_put_aside(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """What is no job and cannot be moved away is reported, and jobs around it are run."""

    @queue.task
    async def fine() -> int:
        return 1

    keys, broker = core_of(queue).session().store.keys, core_of(queue).session().store
    await broker.call("SET", keys.dead, "of another program")
    await broker.call("XADD", keys.stream("default"), "*", "id", "odd", "n", "1", "job", "not json")
    job = await fine.enqueue()
    async with Worker(queue):
        assert await job == 1
        await wait_until(lambda: "WRONGTYPE" in caplog.text, "the trouble to be told")
    assert {record.name for record in caplog.records} == {"aiostreamq.worker"}


async def test_letter_that_can_not_be_written(queue: Queue) -> None:
    """A failed job whose dead letter has no place is not lost: it runs again, and is told then."""

    @queue.task
    async def fail() -> None:
        raise OutOfStock

    keys, broker = core_of(queue).session().store.keys, core_of(queue).session().store
    await broker.call("SET", keys.dead, "of another program")
    job = await fail.enqueue()
    async with asyncio.timeout(PATIENCE):
        await Worker(queue, lease=1.0).run(burst=True)
    await broker.call("DEL", keys.dead)
    async with Worker(queue, lease=1.0):
        with pytest.raises(JobFailed):
            await job.result(timeout=PATIENCE)


async def test_nonsense_in_the_stream(queue: Queue) -> None:
    """What is no job is put aside, and jobs around it are run."""

    @queue.task
    async def fine() -> int:
        return 1

    broker = core_of(queue).session().store
    link = await broker.connector.open_link("test")
    stream = broker.keys.stream("default")
    await link.call("XADD", stream, "*", "hello", "world")
    await link.call("XADD", stream, "*", "id", "odd", "n", "1", "job", "not json")
    job = await fine.enqueue()

    async def both_are_aside() -> bool:
        return await link.call("XLEN", broker.keys.dead) == 2

    async with Worker(queue):
        assert await job == 1
        await wait_until(both_are_aside, "both to be put aside")
    assert await link.call("XLEN", stream) == 0
    link.close()
