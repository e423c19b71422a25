"""Middleware before each enqueue: it sees, changes and refuses jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, cast

import pytest

from aiostreamq import (
    Call,
    Context,
    EnqueueCall,
    Job,
    JobFailed,
    JobInfo,
    JobNotFound,
    PayloadError,
    Queue,
    UsageError,
    Worker,
)
from aiostreamq.client.core import core_of
from tests.support.waiting import PATIENCE

Enqueue = Callable[[Queue, list[int]], Awaitable[list[Job[object]]]]


async def singly(queue: Queue, numbers: list[int]) -> list[Job[object]]:
    """Enqueue by the task."""
    return [await queue.named("f").enqueue(n) for n in numbers]


async def by_queue(queue: Queue, numbers: list[int]) -> list[Job[object]]:
    """Enqueue by the name of the task."""
    return [await queue.enqueue("f", n) for n in numbers]


async def in_bulk(queue: Queue, numbers: list[int]) -> list[Job[object]]:
    """Enqueue a list of calls."""
    return await queue.enqueue_many([queue.named("f").bind(n) for n in numbers])


async def in_async_bulk(queue: Queue, numbers: list[int]) -> list[Job[object]]:
    """Enqueue calls as they come."""

    async def calls() -> AsyncIterator[Call[object]]:
        for n in numbers:
            yield queue.named("f").bind(n)

    return await queue.enqueue_many(calls())


async def from_thread(queue: Queue, numbers: list[int]) -> list[Job[object]]:
    """Enqueue from code without an event loop."""
    jobs = await asyncio.to_thread(lambda: [queue.sync.enqueue("f", n) for n in numbers])
    return [queue.job(job.id) for job in jobs]


WAYS = [singly, by_queue, in_bulk, in_async_bulk, from_thread]
each_way = pytest.mark.parametrize("enqueue", WAYS)


@pytest.fixture
def seen(queue: Queue) -> list[tuple[int, dict[str, str]]]:
    """The arguments and headers with which the task `f` of the queue has run."""
    found: list[tuple[int, dict[str, str]]] = []

    @queue.task(name="f")
    async def f(ctx: Context, n: int) -> None:
        found.append((n, dict(ctx.headers)))

    del f
    return found


@each_way
async def test_changes_headers_in_order(
    queue: Queue, enqueue: Enqueue, seen: list[tuple[int, dict[str, str]]]
) -> None:
    """Each function gets the call of the one before, whichever way the job is enqueued."""

    @queue.enqueue_middleware
    def first(call: EnqueueCall) -> EnqueueCall:
        return call.using(headers={"order": "1", "n": str(call.args[0])})

    @queue.enqueue_middleware
    def second(call: EnqueueCall) -> EnqueueCall:
        return call.using(headers={"order": call.headers["order"] + "2"})

    del first, second
    async with Worker(queue, concurrency=1):
        for job in await enqueue(queue, [1, 2]):
            await job.result(timeout=PATIENCE)
    assert seen == [(n, {"order": "12", "n": str(n)}) for n in (1, 2)]


@each_way
async def test_changes_any_option(
    queue: Queue, enqueue: Enqueue, seen: list[tuple[int, dict[str, str]]]
) -> None:
    """A changed id, delay or moment is that of the job, also if it is relative to Redis's clock."""

    @queue.enqueue_middleware
    def change(call: EnqueueCall) -> EnqueueCall:
        assert (call.task, call.job_id, call.lane) == ("f", None, "default")
        n = call.args[0]
        return call.using(id=f"job-{n}", delay="1h", deadline="2h", expires="90m")

    del change
    jobs = await enqueue(queue, [1, 2])
    assert [job.id for job in jobs] == ["job-1", "job-2"]
    infos = [await job.info() for job in jobs]
    assert [info.state.value for info in infos] == ["delayed", "delayed"]
    assert (await enqueue(queue, [1]))[0].id == "job-1"
    assert len([job async for job in queue.jobs()]) == 2
    assert seen == []


@each_way
async def test_refuses_by_raising(
    queue: Queue, enqueue: Enqueue, seen: list[tuple[int, dict[str, str]]]
) -> None:
    """The caller gets the error; the jobs before it are enqueued, it and those after it are not."""

    @queue.enqueue_middleware
    def refuse(call: EnqueueCall) -> EnqueueCall:
        if call.args == (3,):
            raise PermissionError("not you")
        return call

    del refuse
    with pytest.raises(PermissionError, match="not you"):
        await enqueue(queue, [1, 2, 3, 4])
    found: list[JobInfo] = [job async for job in queue.jobs()]
    assert [job.args for job in found] == [[1], [2]]
    assert seen == []


@pytest.mark.parametrize("error", [PermissionError("not you"), UsageError("not you")], ids=repr)
@pytest.mark.parametrize("returns", [False, True])
async def test_refuses_an_item_of_a_map(queue: Queue, error: Exception, *, returns: bool) -> None:
    """The results before it come first. Only an error of aiostreamq can stand in for its result."""

    @queue.enqueue_middleware
    def refuse(call: EnqueueCall) -> EnqueueCall:
        if call.args == (2,):
            raise error
        return call

    @queue.task
    async def half(n: int) -> int:
        return n // 2

    del refuse
    found: list[object] = []
    results = queue.map(half, range(4), return_exceptions=returns)

    async def ask() -> None:
        found.extend([await anext(results) for _ in range(2)])
        found.extend([result async for result in results])

    async with Worker(queue):
        if returns and isinstance(error, UsageError):
            await ask()
            assert found == [0, 0, error, 1]
        else:
            with pytest.raises(type(error), match="not you"):
                await ask()
            assert found == [0, 0]


async def test_refused_jobs_have_no_trace(queue: Queue) -> None:
    """A refused id stays free."""

    @queue.enqueue_middleware
    def refuse(_call: EnqueueCall) -> EnqueueCall:
        raise ValueError("no")

    del refuse
    with pytest.raises(ValueError, match="no"):
        await queue.named("f").using(id="a").enqueue()
    with pytest.raises(JobNotFound):
        await queue.job("a").status()


async def test_sees_inherited_headers(queue: Queue) -> None:
    """A call from a job shows the headers that it inherits, and changed ones win."""
    found: list[dict[str, str]] = []

    @queue.enqueue_middleware
    def look(call: EnqueueCall) -> EnqueueCall:
        found.append(dict(call.headers))
        return call.using(headers={"b": "changed"}) if call.task == "child" else call

    @queue.task
    async def child(ctx: Context) -> dict[str, str]:
        return dict(ctx.headers)

    @queue.task
    async def parent() -> dict[str, str]:
        return await (await child.using(headers={"own": "3"}).enqueue())

    del look
    async with Worker(queue):
        headers = await (await parent.using(headers={"a": "1", "b": "2"}).enqueue())
    assert headers == {"a": "1", "b": "changed", "own": "3"}
    assert found == [{"a": "1", "b": "2"}, {"a": "1", "b": "2", "own": "3"}]


async def test_carries_what_it_sets(queue: Queue) -> None:
    """A variable that middleware sets travels with the job."""
    variable: ContextVar[int] = ContextVar("variable")
    queue.carry(variable)

    @queue.enqueue_middleware
    def put(call: EnqueueCall) -> EnqueueCall:
        variable.set(7)
        return call

    @queue.task
    async def show() -> int:
        return variable.get()

    del put
    async with Worker(queue):
        assert await (await asyncio.create_task(show.enqueue())) == 7


@pytest.mark.parametrize("answer", [None, True, "f", {"a": "b"}], ids=repr)
@pytest.mark.parametrize("enqueue", [singly, in_bulk])
async def test_returns_a_call(queue: Queue, enqueue: Enqueue, answer: object) -> None:
    """Anything else refuses the enqueue: a forgotten `return` must not be overlooked."""

    @queue.enqueue_middleware
    def forget(_call: EnqueueCall) -> EnqueueCall:
        return cast("EnqueueCall", answer)

    del forget
    with pytest.raises(UsageError, match=r"forget.* returned .*: return the call"):
        await enqueue(queue, [1])


async def test_bad_options_refuse_the_call(queue: Queue) -> None:
    """Options that middleware gives are checked as those of a caller."""

    @queue.enqueue_middleware
    def spoil(call: EnqueueCall) -> EnqueueCall:
        return call.using(headers=cast("dict[str, str]", {"a": 1}))

    del spoil
    with pytest.raises(UsageError, match="header 'a' must be a str"):
        await singly(queue, [1])


async def test_schedules_pass_by(queue: Queue) -> None:
    """The ticks of a schedule were not enqueued by the code that made the schedule."""
    seen: list[str] = []

    @queue.enqueue_middleware
    def look(call: EnqueueCall) -> EnqueueCall:
        seen.append(call.task)
        return call

    @queue.task
    async def tick() -> None: ...

    del look
    await queue.schedules.create("tick", tick, every="1h")
    async with Worker(queue):
        await (await queue.schedules.trigger("tick")).result(timeout=PATIENCE)
    assert seen == []


async def test_errors_of_arguments_come_after(queue: Queue) -> None:
    """Middleware gets arguments as they were given; their errors are as without it."""
    seen: list[object] = []

    @queue.enqueue_middleware
    def look(call: EnqueueCall) -> EnqueueCall:
        seen.append((call.args, call.kwargs))
        return call

    del look
    with pytest.raises(PayloadError):
        await queue.named("f").enqueue({1}, a=2)
    assert seen == [(({1},), {"a": 2})]


def without_parameters() -> EnqueueCall:
    """Take nothing."""
    raise NotImplementedError


async def not_sync(call: EnqueueCall) -> EnqueueCall:
    """Be async."""
    return call


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "takes a function, got None"),
        (EnqueueCall, "takes a function"),
        (without_parameters, "takes other arguments"),
        (not_sync, "is async"),
    ],
)
def test_invalid_are_refused_early(given: object, problem: str) -> None:
    """The decorator refuses a wrong function."""
    queue = Queue("memory://")
    with pytest.raises(UsageError, match=problem):
        queue.enqueue_middleware(cast("Callable[..., Any]", given))
    assert not core_of(queue).tasks


async def test_run_middleware_fails_a_job_only(queue: Queue) -> None:
    """Middleware around runs has no part in an enqueue."""

    @queue.middleware
    async def fail(_call: object, _call_next: object) -> object:
        raise ValueError("no")

    @queue.task
    async def f() -> None: ...

    del fail
    async with Worker(queue):
        job = await f.enqueue()
        with pytest.raises(JobFailed):
            await job
