"""Middleware around runs: its order, its results and its failures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

import aiostreamq
from aiostreamq import (
    CallNext,
    Depends,
    Drop,
    GiveUp,
    Job,
    JobCancelled,
    JobDead,
    JobDropped,
    JobFailed,
    JobTimeout,
    Queue,
    Retry,
    RetryLater,
    RunCall,
    UsageError,
    Worker,
)
from aiostreamq.worker.run import stopper
from tests.support import cpu_jobs
from tests.support.waiting import PATIENCE


def layered(queue: Queue, *names: str) -> list[str]:
    """Add layers that note when they begin and end."""
    notes: list[str] = []

    def add(name: str) -> None:
        @queue.middleware
        async def layer(call: RunCall, call_next: CallNext) -> object:
            notes.append(f"{name} begins {call.task}")
            try:
                return await call_next()
            finally:
                notes.append(f"{name} ends")

        del layer

    for name in names:
        add(name)
    return notes


async def test_first_declared_is_outermost(queue: Queue) -> None:
    """Layers nest in their order around a coroutine, a stream and a thread."""
    notes = layered(queue, "a", "b", "c")

    @queue.task
    async def coroutine() -> str:
        notes.append("runs")
        return "coroutine"

    @queue.task
    async def stream():  # inferred
        notes.append("runs")
        yield "chunk"

    @queue.task
    def thread() -> str:
        notes.append("runs")
        return "thread"

    async with Worker(queue):
        for task, value in ((coroutine, "coroutine"), (stream, None), (thread, "thread")):
            assert await (await task.enqueue()) == value
            begins = [f"{name} begins {task.name}" for name in "abc"]
            assert notes == [*begins, "runs", "c ends", "b ends", "a ends"]
            notes.clear()
        assert [chunk async for chunk in await stream.enqueue()] == ["chunk"]


async def test_around_a_process(redis_url: str) -> None:
    """Layers run in the worker around a task in a process, and see its result and its arguments."""
    queue = Queue(redis_url, name="around")
    seen: list[object] = []

    @queue.middleware
    async def look(call: RunCall, call_next: CallNext) -> object:
        seen.append((call.args, call.kwargs))
        value = await call_next()
        seen.append(value)
        return value

    task = queue.task(executor="process")(cpu_jobs.next_day)
    async with queue, Worker(queue, processes=1):
        assert await (await task.enqueue(date(2026, 1, 1))) == date(2026, 1, 2)
        with pytest.raises(JobFailed, match="OverflowError"):
            await (await task.enqueue(date.max))
    first: tuple[object, dict[str, object]] = ((date(2026, 1, 1),), {})
    second: tuple[object, dict[str, object]] = ((date.max,), {})
    assert seen == [first, date(2026, 1, 2), second]


async def test_call_is_described(queue: Queue) -> None:
    """A call has what the task's context has, and the restored arguments without the context."""
    calls: list[RunCall] = []

    @queue.middleware
    async def keep(call: RunCall, call_next: CallNext) -> object:
        calls.append(call)
        return await call_next()

    @queue.task(retry=Retry(2, base=0.001))
    async def plan(day: date, *, note: str = "") -> None:
        if len(calls) == 1:
            raise ValueError("once")

    async with Worker(queue) as worker:
        job = await plan.using(headers={"a": "b"}).enqueue(date(2026, 1, 1), note="x")
        await job
    for attempt, call in enumerate(calls, 1):
        assert (call.task, call.job_id, call.attempt) == ("plan", job.id, attempt)
        assert (call.delivery, call.worker, call.headers) == (attempt, worker.name, {"a": "b"})
        assert (call.args, call.kwargs) == ((date(2026, 1, 1),), {"note": "x"})


async def test_result_may_be_replaced(queue: Queue) -> None:
    """The result of the outermost layer counts, with and without a call of the task."""
    ran: list[int] = []

    @queue.middleware
    async def change(call: RunCall, call_next: CallNext) -> object:
        (n,) = call.args
        return "cached" if n == 0 else f"{await call_next()}!"

    @queue.task
    async def echo(n: int) -> str:
        ran.append(n)
        return str(n)

    @queue.task
    async def stream(n: int):  # inferred
        ran.append(n)
        yield n

    async with Worker(queue):
        assert [await (await echo.enqueue(n)) for n in (0, 1)] == ["cached", "1!"]
        assert [chunk async for chunk in await stream.enqueue(0)] == []
        assert [chunk async for chunk in await stream.enqueue(2)] == [2]
    assert ran == [1, 2]


@pytest.mark.parametrize("value", [{1}, object(), "x" * 2_000_000], ids=["set", "object", "long"])
async def test_result_that_cannot_travel_fails_the_job(queue: Queue, value: object) -> None:
    """A replaced result is checked as that of a task."""

    @queue.middleware
    async def spoil(_call: RunCall, _call_next: CallNext) -> object:
        return value

    @queue.task
    async def f() -> int:
        return 1

    async with Worker(queue):
        with pytest.raises(JobFailed, match=r"the result of task 'f'|a result of 2,000,002 bytes"):
            await (await f.enqueue())


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("when", ["before", "after", "instead"])
@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ValueError("no"), JobFailed),
        (StopAsyncIteration(), JobFailed),
        (SystemExit(3), JobFailed),
        (asyncio.CancelledError(), JobFailed),
        (Drop("enough"), JobDropped),
        (GiveUp("broken"), JobDead),
    ],
    ids=repr,
)
async def test_raises_as_the_task(
    queue: Queue, error: BaseException, end: type[Exception], when: str
) -> None:
    """An exception of a layer is the outcome, before the task, after it or for its error."""

    @queue.middleware
    async def refuse(_call: RunCall, call_next: CallNext) -> object:
        if when == "before":
            raise error
        try:
            await call_next()
        except RuntimeError:
            raise error from None
        raise error

    @queue.task
    async def f() -> None:
        if when == "instead":
            raise RuntimeError("the task's")

    async with Worker(queue):
        with pytest.raises(end):
            await (await f.enqueue()).result(timeout=PATIENCE)


async def test_may_ask_for_a_retry(queue: Queue) -> None:
    """RetryLater of a layer runs the job again, and so do retry rules for what it raises."""
    attempts: list[int] = []

    @queue.middleware
    async def limit(call: RunCall, call_next: CallNext) -> object:
        attempts.append(call.attempt)
        if call.attempt == 1:
            raise RetryLater(0.001)
        if call.attempt == 2:
            raise OSError("busy")
        return await call_next()

    @queue.task(retry=Retry(5, base=0.001, on=(OSError,)))
    async def f() -> str:
        return "done"

    async with Worker(queue):
        assert await (await f.enqueue()) == "done"
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(7), KeyError("k")], ids=repr)
async def test_sees_errors_of_tasks(queue: Queue, error: Exception) -> None:
    """A layer may catch what a coroutine or a thread raises, and hand it on unchanged."""
    caught: list[str] = []

    @queue.middleware
    async def look(_call: RunCall, call_next: CallNext) -> object:
        try:
            return await call_next()
        except Exception as found:
            caught.append(type(found).__name__)
            raise

    @queue.task
    async def coroutine() -> None:
        raise error

    @queue.task
    def thread() -> None:
        raise error

    @queue.task
    async def stream():  # inferred
        yield 1
        raise error

    async with Worker(queue):
        for task in (coroutine, thread, stream):
            job = cast("Job[object]", await task.enqueue())
            with pytest.raises(JobFailed, match=type(error).__name__):
                await job.result(timeout=PATIENCE)
    assert len(caught) == 3
    if not isinstance(error, StopIteration):
        assert caught == [type(error).__name__] * 3


async def test_may_swallow_errors(queue: Queue) -> None:
    """A layer that catches an error and returns ends the job with its value."""

    @queue.middleware
    async def forgive(_call: RunCall, call_next: CallNext) -> object:
        try:
            return await call_next()
        except ValueError:
            return "forgiven"

    @queue.task
    def fail() -> str:
        raise ValueError("no")

    async with Worker(queue):
        assert await (await fail.enqueue()) == "forgiven"


@pytest.mark.parametrize("depth", [1, 3])
async def test_call_next_twice_is_an_error(queue: Queue, depth: int) -> None:
    """The second call fails the job clearly, and does not run the task again."""
    ran: list[int] = []
    layered(queue, *"ab"[: depth - 1])

    @queue.middleware
    async def again(_call: RunCall, call_next: CallNext) -> object:
        await call_next()
        return await call_next()

    @queue.task
    async def f() -> None:
        ran.append(1)

    async with Worker(queue):
        with pytest.raises(JobFailed, match="'f' called call_next twice"):
            await (await f.enqueue())
    assert ran == [1]


async def test_call_next_after_the_run_is_an_error(queue: Queue) -> None:
    """A kept `call_next` cannot run the task of a job that has ended."""
    kept: list[CallNext] = []
    ran: list[int] = []

    @queue.middleware
    async def keep(_call: RunCall, call_next: CallNext) -> object:
        kept.append(call_next)
        return None

    @queue.task
    async def f() -> None:
        ran.append(1)

    async with Worker(queue):
        await (await f.enqueue())
        with pytest.raises(UsageError, match="after the end of its run"):
            await kept[0]()
    assert ran == []


@pytest.mark.parametrize("end", ["returns", "raises"])
async def test_task_does_not_outlive_middleware(queue: Queue, end: str) -> None:
    """A task that middleware calls beside itself is cancelled if the middleware ends before it."""
    notes: list[str] = []
    started = asyncio.Event()

    @queue.middleware
    async def leave(call: RunCall, call_next: CallNext) -> object:
        if call.args:
            return await asyncio.create_task(coroutine_of(call_next))
        beside = asyncio.create_task(coroutine_of(call_next))
        await started.wait()
        assert not beside.done()
        if end == "raises":
            raise LookupError(end)
        return end

    @queue.task
    async def work(*numbers: int) -> str:
        if numbers:
            return "awaited"
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cleaned up")
        return "never"

    async with Worker(queue):
        job = await work.enqueue()
        if end == "raises":
            with pytest.raises(JobFailed, match="LookupError: raises"):
                await job.result(PATIENCE)
        else:
            assert await job.result(PATIENCE) == "returns"
        assert notes == ["cleaned up"]
        assert await (await work.enqueue(1)).result(PATIENCE) == "awaited"


async def coroutine_of(call_next: CallNext) -> object:
    """Call it, as a coroutine."""
    return await call_next()


async def test_stops_with_the_task(queue: Queue) -> None:
    """A timeout and a cancellation pass through the layers from the inside."""
    notes = layered(queue, "a", "b")
    started = asyncio.Event()

    @queue.task
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async with Worker(queue):
        with pytest.raises(JobTimeout):
            await (await hang.using(timeout=0.01).enqueue()).result(timeout=PATIENCE)
        started.clear()
        job = await hang.enqueue()
        await started.wait()
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
    assert notes == ["a begins hang", "b begins hang", "b ends", "a ends"] * 2


@pytest.mark.parametrize("swallows", ["once", "always"])
async def test_swallowed_cancellation_does_not_hang(
    queue: Queue, swallows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that swallows CancelledError ends as timed out, and the worker stops in order."""
    monkeypatch.setattr(stopper, "CLEANUP_TIME", 0.05)
    is_over = asyncio.Event()

    @queue.middleware
    async def swallow(_call: RunCall, call_next: CallNext) -> object:
        with suppress(asyncio.CancelledError):
            return await call_next()
        while swallows == "always" and not is_over.is_set():
            with suppress(asyncio.CancelledError):
                await is_over.wait()
        return "swallowed"

    @queue.task
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    async with Worker(queue):
        with pytest.raises(JobTimeout):
            await (await hang.using(timeout=0.01).enqueue()).result(timeout=PATIENCE)
        is_over.set()


async def test_sets_the_context_of_the_task(queue: Queue) -> None:
    """Context variables that a layer sets are seen by the task, and by no other job."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    @queue.middleware
    async def put(call: RunCall, call_next: CallNext) -> object:
        if call.args:
            variable.set("set")
        return await call_next()

    @queue.task
    async def coroutine(*_args: int) -> str:
        return variable.get()

    @queue.task
    def thread(*_args: int) -> str:
        return variable.get()

    async with Worker(queue, concurrency=1):
        for task in (coroutine, thread):
            assert await (await task.enqueue(1)) == "set"
            assert await (await task.enqueue()) == "unset"


async def sound(call: RunCall, call_next: CallNext) -> object:
    """Be sound."""
    return await call_next()


class Sound:
    """A callable object."""

    async def __call__(self, _call: RunCall, call_next: CallNext) -> object:
        """Be sound."""
        return await call_next()

    async def method(self, _call: RunCall, call_next: CallNext) -> object:
        """Be sound."""
        return await call_next()


def fail() -> int:
    """Raise, in a frame of its own."""
    raise ValueError("no")


async def fail_on_loop() -> int:
    """Be a coroutine."""
    return fail()


async def fail_in_stream() -> AsyncIterator[int]:
    """Be a stream."""
    yield 1
    fail()


def fail_in_thread() -> int:
    """Run in a thread."""
    return fail()


async def fail_after_dependency(value: int = Depends(fail)) -> int:
    """Have a dependency that fails."""
    return value


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(
    "function", [fail_on_loop, fail_in_stream, fail_in_thread, fail_after_dependency]
)
@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_tracebacks_have_frames_of_the_user(
    queue: Queue, function: Callable[..., Any], depth: int
) -> None:
    """A traceback shows middleware and what raised, and no frame of the worker between them."""

    async def around(_call: RunCall, call_next: CallNext) -> object:
        return await call_next()

    for _ in range(depth):
        queue.middleware(around)
    task = queue.task(function)
    async with Worker(queue):
        with pytest.raises(JobFailed) as failed:
            await (await task.enqueue()).result(timeout=PATIENCE)
    frames = [line for line in failed.value.traceback.splitlines() if line.startswith("  File ")]
    assert [line for line in frames if "in around" in line] == frames[:depth]
    assert "in fail" in frames[-1]
    worker = str(Path(aiostreamq.__file__).parent / "worker")
    assert [line for line in frames if worker in line] == []


@pytest.mark.parametrize("given", [sound, Sound(), Sound().method])
async def test_callables(queue: Queue, given: Any) -> None:
    """Functions, methods and objects are fine, and are returned as they are."""
    assert queue.middleware(given) is given

    @queue.task
    async def f() -> int:
        return 1

    async with Worker(queue):
        assert await (await f.enqueue()) == 1


async def no_parameters() -> object:
    """Take nothing."""


async def one_too_many(call: RunCall, call_next: CallNext, more: int) -> object:
    """Take one more."""


def not_async(call: RunCall, call_next: CallNext) -> object:
    """Be a `def`."""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "takes a function, got None"),
        ("f", "takes a function, got 'f'"),
        (Sound, "takes a function"),
        (no_parameters, "takes other arguments"),
        (one_too_many, "takes other arguments"),
        (not_async, "is not async"),
    ],
)
def test_invalid_are_refused_early(given: object, problem: str) -> None:
    """The decorator refuses a wrong function."""
    with pytest.raises(UsageError, match=problem):
        Queue("memory://").middleware(cast("Callable[..., Any]", given))
