"""Middleware that runs `call_next` in other ways than `await call_next()`, and all exceptions."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import pytest

from aiostreamq import CallNext, Depends, Job, JobFailed, Queue, Retry, RunCall, Worker
from tests.support.nightly import mostly_nightly
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet


class OwnKind(BaseException):
    """An exception of no kind that Python knows."""


async def awaits(call_next: CallNext) -> object:
    """Do what most do."""
    return await call_next()


async def creates_task(call_next: CallNext) -> object:
    """Run it beside itself."""
    return await asyncio.create_task(coroutine_of(call_next))


async def creates_bare_task(call_next: CallNext) -> object:
    """Give a task what `call_next` returns."""
    return await asyncio.create_task(cast("Any", call_next()))


async def gathers(call_next: CallNext) -> object:
    """Run it beside something else."""
    return (await asyncio.gather(call_next(), asyncio.sleep(0)))[0]


async def shields(call_next: CallNext) -> object:
    """Protect it from cancellation."""
    return await asyncio.shield(call_next())


async def limits(call_next: CallNext) -> object:
    """Give it a time; before Python 3.12 this makes a task."""
    return await asyncio.wait_for(call_next(), PATIENCE)


async def groups(call_next: CallNext) -> object:
    """Run it in a group, and undo the group's wrapping."""
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(coroutine_of(call_next))
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    return running.result()


async def coroutine_of(call_next: CallNext) -> object:
    """Call it, as a coroutine."""
    return await call_next()


WAYS = [awaits, creates_task, creates_bare_task, gathers, shields, limits, groups]
ERRORS = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    OwnKind("own"),
    StopIteration(7),
    asyncio.CancelledError(),
    ValueError("no"),
]


def ways_and_errors(*distances: int) -> "list[ParameterSet]":
    """Return all pairs, of which `make test` has each way and each error in several."""
    pairs = list(product(WAYS, ERRORS))
    kept = [
        (way, ERRORS[(place + distance) % len(ERRORS)])
        for place, way in enumerate(WAYS)
        for distance in distances
    ]
    return mostly_nightly(pairs, but=kept)


def name_of(value: object) -> str | None:
    """Return the name of a case's part, for the names of tests; None is pytest's own."""
    return repr(value) if isinstance(value, BaseException) else None


@pytest.fixture
def error(request: pytest.FixtureRequest) -> BaseException:
    """Return a new exception like the one of the test's parameter: it has no traceback yet."""
    like = cast("BaseException", request.param)
    return type(like)(*like.args)


@pytest.fixture
def handles_ctrl_c() -> Generator[None]:
    """Have a handler of SIGINT, as every program has that runs in `asyncio.run`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


Way = Callable[[CallNext], Awaitable[object]]


async def ends_of(queue: Queue, error: BaseException, prefix: str) -> list[tuple[str, str, int]]:
    """Run a task of each kind that raises *error*; return how each ended, and its attempts."""
    attempts: list[str] = []
    rules = Retry(2, base=0.001, on=(type(error),))

    def fail() -> None:
        attempts.append("")
        raise error

    @queue.task(name=f"{prefix}-coroutine", retry=rules)
    async def coroutine() -> None:
        fail()

    @queue.task(name=f"{prefix}-thread", retry=rules)
    def thread() -> None:
        fail()

    @queue.task(name=f"{prefix}-dependent", retry=rules)
    async def dependent(value: None = Depends(fail)) -> None:
        raise AssertionError(value)

    @queue.task(name=f"{prefix}-stream", retry=rules)
    async def stream():  # inferred
        yield 1
        fail()

    @queue.task(name=f"{prefix}-sound")
    async def sound() -> str:
        return "sound"

    ends: list[tuple[str, str, int]] = []
    async with Worker(queue):
        for task in (coroutine, thread, dependent, stream):
            attempts.clear()
            job = cast("Job[object]", await cast("Any", task).enqueue())
            with pytest.raises(JobFailed) as failed:
                await job.result(PATIENCE)
            ends.append((failed.value.type, failed.value.message, len(attempts)))
        assert await (await sound.enqueue()).result(PATIENCE) == "sound"
    return ends


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(
    ("way", "error"), ways_and_errors(0, 1, 3), ids=name_of, indirect=["error"]
)
@pytest.mark.usefixtures("handles_ctrl_c")
async def test_ends_as_without_middleware(queue: Queue, way: Way, error: BaseException) -> None:
    """Outcomes and retries are those of runs without middleware, and the worker works on."""
    expected = await ends_of(queue, error, "bare")

    async def around(_call: RunCall, call_next: CallNext) -> object:
        return await way(call_next)

    for _ in range(2):
        queue.middleware(around)
    assert await ends_of(queue, error, "wrapped") == expected


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(
    ("way", "error"), ways_and_errors(0, 2, 6), ids=name_of, indirect=["error"]
)
@pytest.mark.usefixtures("handles_ctrl_c")
async def test_middleware_that_raises(queue: Queue, way: Way, error: BaseException) -> None:
    """A layer inside of another may raise anything: its job fails with it, and no other."""

    @queue.middleware
    async def outer(_call: RunCall, call_next: CallNext) -> object:
        return await way(call_next)

    @queue.middleware
    async def inner(call: RunCall, call_next: CallNext) -> object:
        if call.args:
            raise error
        return await call_next()

    @queue.task
    async def f(*_numbers: int) -> str:
        return "done"

    kind = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__
    async with Worker(queue):
        with pytest.raises(JobFailed, match=kind):
            await (await f.enqueue(1)).result(PATIENCE)
        assert await (await f.enqueue()).result(PATIENCE) == "done"


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=repr, indirect=True)
@pytest.mark.usefixtures("handles_ctrl_c")
async def test_sees_the_exception_itself(
    queue: Queue, error: BaseException, *, beside: bool
) -> None:
    """A layer sees what a `def` task raised, or a RuntimeError whose cause that is."""
    seen: list[BaseException] = []

    @queue.middleware
    async def look(_call: RunCall, call_next: CallNext) -> object:
        try:
            return await (creates_task if beside else awaits)(call_next)
        except BaseException as found:  # noqa: BLE001  # that is the point
            seen.append(found)
            return "seen"

    @queue.task
    def thread() -> str:
        raise error

    async with Worker(queue):
        assert await (await thread.enqueue()).result(PATIENCE) == "seen"
    (found,) = seen
    beside_only = SystemExit | KeyboardInterrupt | GeneratorExit
    if isinstance(error, StopIteration) or (beside and isinstance(error, beside_only)):
        assert type(found) is RuntimeError
        assert str(found) == f"task 'thread' raised {type(error).__name__}"
        assert found.__cause__ is error
    elif beside and isinstance(error, asyncio.CancelledError):
        assert type(found) is asyncio.CancelledError  # that of the asyncio task
    else:
        assert found is error


@pytest.mark.parametrize("how", ["drops", "returns", "creates a task"])
async def test_call_next_that_is_not_awaited(queue: Queue, how: str) -> None:
    """A forgotten await fails the job, and the error names the middleware."""
    ran: list[int] = []
    beside: list[asyncio.Task[object]] = []

    @queue.middleware
    async def forget(_call: RunCall, call_next: CallNext) -> object:
        running = cast("Any", call_next())
        if how == "creates a task":
            beside.append(asyncio.create_task(running))
            return None
        running.close()  # or Python warns of it
        return running if how == "returns" else None

    @queue.task
    async def f() -> None:
        ran.append(1)

    async with Worker(queue):
        with pytest.raises(
            JobFailed, match=r"forget.*of task 'f' called call_next and did not awa"
        ):
            await (await f.enqueue()).result(PATIENCE)
        for task in beside:
            with pytest.raises(Exception, match="after the end of its run"):
                await task
    assert ran == []


async def test_call_next_awaited_again(queue: Queue) -> None:
    """The coroutine that a call returns can be awaited once, as any other."""
    ran: list[int] = []

    @queue.middleware
    async def again(_call: RunCall, call_next: CallNext) -> object:
        running = call_next()
        await running
        return await running

    @queue.task
    async def f() -> None:
        ran.append(1)

    async with Worker(queue):
        with pytest.raises(JobFailed, match="cannot reuse already awaited coroutine"):
            await (await f.enqueue()).result(PATIENCE)
    assert ran == [1]


@pytest.mark.parametrize("how", ["gathered", "one after the other"])
async def test_two_tasks_call_next(queue: Queue, how: str) -> None:
    """The second of two asyncio tasks that call it fails, and the first is ended with the run."""
    ended: list[str] = []

    @queue.middleware
    async def twice(_call: RunCall, call_next: CallNext) -> object:
        if how == "gathered":
            return await asyncio.gather(call_next(), call_next())
        beside = asyncio.create_task(coroutine_of(call_next))
        await asyncio.sleep(0)
        del beside
        return await call_next()

    @queue.task
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")

    async with Worker(queue):
        with pytest.raises(JobFailed, match="called call_next twice for one run"):
            await (await hang.enqueue()).result(PATIENCE)
    assert ended == ["hang"]


async def test_another_event_loop(queue: Queue) -> None:
    """`call_next` cannot be awaited on another event loop."""

    @queue.middleware
    async def elsewhere(_call: RunCall, call_next: CallNext) -> object:
        return await asyncio.to_thread(lambda: asyncio.run(coroutine_of(call_next)))

    @queue.task
    async def f() -> None:
        raise AssertionError

    async with Worker(queue):
        with pytest.raises(JobFailed, match="in another event loop than that of the worker"):
            await (await f.enqueue()).result(PATIENCE)


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
@pytest.mark.parametrize("way", [creates_task, shields, gathers])
async def test_cancelled_from_middleware(queue: Queue, kind: str, way: Way) -> None:
    """A layer may cancel the rest, and the run ends as the layer ends."""
    notes: list[str] = []
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = threading.Event()

    @queue.middleware
    async def cancel(call: RunCall, call_next: CallNext) -> object:
        running = asyncio.create_task(coroutine_of(lambda: way(call_next)))
        await started.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return f"cancelled {call.task}"

    @queue.task
    async def coroutine() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cleaned up")
        return "never"

    @queue.task
    def thread() -> str:
        loop.call_soon_threadsafe(started.set)
        release.wait(PATIENCE)
        notes.append("cleaned up")
        return "never"

    task = coroutine if kind == "coroutine" else thread
    async with Worker(queue):
        job = cast("Job[object]", await task.enqueue())
        assert await job.result(PATIENCE) == f"cancelled {kind}"
        release.set()
        await wait_until(lambda: notes == ["cleaned up"], "the end of the task")


async def test_inner_layers_do_not_outlive_the_run(queue: Queue) -> None:
    """A layer that runs beside the one around it is cancelled with it, before it calls the task."""
    notes: list[str] = []
    waits = asyncio.Event()

    @queue.middleware
    async def leave(_call: RunCall, call_next: CallNext) -> object:
        beside = asyncio.create_task(coroutine_of(call_next))
        await waits.wait()
        return str(beside.done())

    @queue.middleware
    async def wait(_call: RunCall, call_next: CallNext) -> object:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cancelled")
        return await call_next()

    @queue.task
    async def f() -> str:
        return "never"

    async with Worker(queue):
        assert await (await f.enqueue()).result(PATIENCE) == "False"
        assert notes == ["cancelled"]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_stepped_by_hand_does_not_hang(queue: Queue, *, by_hand: bool) -> None:
    """A coroutine of `call_next` that is stepped and dropped does not hold the run."""
    kept: list[Any] = []

    @queue.middleware
    async def step(_call: RunCall, call_next: CallNext) -> object:
        running: Any = call_next()
        if by_hand:
            kept.append(running)
            return str(running.send(None))
        return await running

    @queue.task
    async def f() -> str:
        await asyncio.sleep(0)
        return "whole"

    async with Worker(queue):
        assert await (await f.enqueue()).result(PATIENCE) == ("None" if by_hand else "whole")
        for one in kept:
            one.close()
