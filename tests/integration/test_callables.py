"""Every kind of function runs as a task, and every name of a parameter can be given."""

import asyncio
import contextlib
import functools
import threading
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
)
from typing import Any, cast

import pytest

from aiostreamq import Call, Context, Job, JobFailed, Progress, Queue, StreamJob, Worker


async def add(n: int) -> int:
    """Add one."""
    await asyncio.sleep(0)
    return n + 1


def add_in_thread(n: int) -> int:
    """Add one, anywhere but in the event loop."""
    assert threading.current_thread() is not threading.main_thread()
    return n + 1


async def count(n: int) -> AsyncIterator[int]:
    """Stream."""
    for one in range(n):
        yield one


def around(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `def` around any function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def around_quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `def` around any function that does not say so."""

    def wrapper(n: int) -> Any:
        return function(n)

    return wrapper


def running(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `def` that runs a coroutine function itself."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return wrapper


def awaitable(n: int) -> Awaitable[int]:
    """Return what is to be awaited, of the loop it is called in."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(n + 1)
    return future


def coroutine(n: int) -> Coroutine[Any, Any, int]:
    """Return a coroutine."""
    return add(n)


class Custom:
    """Can be awaited, though it is no coroutine."""

    def __await__(self) -> Any:
        """Add one, after a turn of the loop."""
        return add(1).__await__()


def custom(n: int) -> Any:
    """Return one."""
    del n
    return Custom()


class Jobs:
    """What has methods of all kinds."""

    async def method(self, n: int) -> int:
        """Add one."""
        return n + 1

    def in_thread(self, n: int) -> int:
        """Add one."""
        return add_in_thread(n)

    @classmethod
    async def by_class(cls, n: int) -> int:
        """Add one."""
        return n + 1

    @staticmethod
    async def static(n: int) -> int:
        """Add one."""
        return n + 1


class Called:
    """Can be called."""

    def __call__(self, n: int) -> int:
        """Add one."""
        return add_in_thread(n)


class CalledAsync:
    """Can be called, and is to be awaited."""

    async def __call__(self, n: int) -> int:
        """Add one."""
        return n + 1


def plus(n: int, m: int) -> int:
    """Add both."""
    return n + m


class Around(contextlib.AsyncContextDecorator):
    """A context that is a decorator as well."""

    async def __aenter__(self) -> None:
        """Do nothing."""

    async def __aexit__(self, *told: object) -> None:
        """Do nothing."""


KINDS: dict[str, Any] = {
    "async def": add,
    "def": add_in_thread,
    "def around async def": around(add),
    "def around def around async def": around(around(add)),
    "def around async def, quietly": around_quietly(add),
    "def that runs an async def": running(add),
    "def around def": around(add_in_thread),
    "def that returns an awaitable": awaitable,
    "def that returns a coroutine": coroutine,
    "def that returns an object to be awaited": custom,
    "context as a decorator": Around()(add),
    "partial": functools.partial(add),
    "partial with a name": functools.partial(plus, m=1),
    "partial of a method": functools.partial(Jobs().method),
    "partial of a def around async def": functools.partial(around(add)),
    "bound method": Jobs().method,
    "bound method, in a thread": Jobs().in_thread,
    "class method": Jobs.by_class,
    "static method": vars(Jobs)["static"],
    "static method of the class": Jobs.static,
    "object": Called(),
    "async object": CalledAsync(),
    "lambda": cast("Callable[[int], int]", lambda n=1: n + 1),
    "lambda of async def": cast("Callable[[int], Any]", lambda n=1: add(n)),
    "built in": (1).__add__,
    "cached": functools.cache(add_in_thread),
    "task of another queue": Queue("memory://", name="other").task(add),
    "def around a task of another queue": around(Queue("memory://", name="other").task(add)),
}


def task_of(queue: Queue, function: Any) -> Any:
    """Register what the type checker knows nothing of."""
    register: Any = queue.task(name="kind")
    return register(function)


@pytest.mark.parametrize("function", KINDS.values(), ids=list(KINDS))
async def test_kinds(queue: Queue, function: Any) -> None:
    """It gives its result, and nothing is left that was never awaited."""
    task = task_of(queue, function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with Worker(queue):
            assert await (await task.enqueue(1)) == 2
            assert await (await queue.enqueue(task, 1)) == 2
            (job,) = await queue.enqueue_many([task.bind(1)])
            assert await job == 2


class Numbers:
    """Can be iterated asynchronously, and cannot be closed."""

    def __init__(self, n: int) -> None:
        self.left = list(range(n))

    def __aiter__(self) -> "Numbers":
        """Be an iterator."""
        return self

    async def __anext__(self) -> int:
        """Return the next."""
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


def numbers(n: int) -> AsyncIterable[int]:
    """Return one."""
    return Numbers(n)


def counted(n: int) -> AsyncIterator[int]:
    """Return an asynchronous generator."""
    return count(n)


STREAMS: dict[str, Any] = {
    "async generator": count,
    "def around one": around(count),
    "def that returns one": counted,
    "def that returns an iterable": numbers,
    "partial": functools.partial(count),
    "task of another queue": Queue("memory://", name="other").task(count),
}


@pytest.mark.parametrize("function", STREAMS.values(), ids=list(STREAMS))
async def test_streams(queue: Queue, function: Any) -> None:
    """What it yields is streamed."""
    task = task_of(queue, function)
    async with Worker(queue):
        job: StreamJob[int] = await task.enqueue(3)
        assert [chunk async for chunk in job] == [0, 1, 2]


@contextlib.asynccontextmanager
async def manager(n: int) -> AsyncGenerator[int]:
    """Be a context manager, which is no stream."""
    yield n


def generated(n: int) -> Any:
    """Return a generator."""
    return (one for one in range(n))


FAILING: dict[str, tuple[Any, str]] = {
    "context manager": (manager, "is to stream, and gave an object of type '_Async"),
    "generator": (generated, "generator"),
    "async generator, quietly": (around_quietly(count), "async_generator"),
    "coroutine that is awaited twice": (functools.cache(around(add)), "cannot reuse already"),
}


@pytest.mark.parametrize(("function", "told"), FAILING.values(), ids=list(FAILING))
async def test_what_only_a_run_can_show(queue: Queue, function: Any, told: str) -> None:
    """What no result can be made of fails the job, and says what it was."""
    task = task_of(queue, function)
    async with Worker(queue):
        ends: list[object] = []
        for _ in range(2):
            job: Job[object] = await task.enqueue(1)
            ends += await asyncio.gather(job.result(), return_exceptions=True)
    assert told in str(ends[-1])
    assert isinstance(ends[-1], JobFailed)


NAMES = (
    *("self", "task", "queue", "name", "args", "kwargs", "id", "function", "calls", "call"),
    *("spec", "using", "cls", "context", "delay", "timeout", "submitter", "telling", "loop"),
)


def with_parameter(name: str, kind: str) -> Any:
    """Return a function of a kind with a context and a parameter of that name."""
    source = {
        "async def": f"async def f(ctx, {name}: int): return {name}",
        "def": f"def f(ctx, {name}: int): return {name}",
        "stream": f"async def f(ctx, {name}: int): yield {name}",
        "**names": f"async def f(ctx, **names: int): return names[{name!r}]",
    }[kind]
    space: dict[str, Any] = {}
    exec(source, space)
    space["f"].__annotations__["ctx"] = Context
    return space["f"]


async def given(job: Job[Any]) -> object:
    """Return what a job returned, or the one chunk that it streamed."""
    if isinstance(job, StreamJob):
        (chunk,) = [chunk async for chunk in cast("StreamJob[object]", job)]
        return chunk
    return await job


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("kind", ["async def", "def", "stream", "**names"])
async def test_names_of_parameters(queue: Queue, kind: str) -> None:
    """Any name can be given by keyword, wherever a call is written."""
    async with Worker(queue):
        for name in NAMES:
            register: Any = queue.task(name=name)
            task, told = register(with_parameter(name, kind)), {name: 3}
            calls: list[Call[Any]] = [task.bind(**told), task.using(timeout=60).bind(**told)]
            jobs: list[Job[Any]] = [
                await task.enqueue(**told),
                await task.using(timeout=60).enqueue(**told),
                await queue.enqueue(task, **told),
                await queue.enqueue(name, **told),
                *await queue.enqueue_many(calls),
            ]
            assert [await given(job) for job in jobs] == [3] * len(jobs)
            await queue.schedules.create(name, task, kwargs=told, every="1d")
            await (await queue.schedules.trigger(name))
            called = task(None, **told)
            match kind:
                case "stream":
                    assert [one async for one in called] == [3]
                case "def":
                    assert called == 3
                case _:
                    assert await called == 3


async def test_names_in_progress(queue: Queue) -> None:
    """What goes with a report of progress can have any name as well."""

    @queue.task
    async def report(ctx: Context) -> None:
        await ctx.progress(0.5, self=1, name=2)

    async with Worker(queue):
        job = await report.enqueue()
        events = [event async for event in job.events()]
    assert [event.meta for event in events if isinstance(event, Progress)] == [
        {"self": 1, "name": 2}
    ]
