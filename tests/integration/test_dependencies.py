"""Dependencies: values that a worker provides, and cleans up with the outcome known."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import pytest

from aiostreamq import (
    Context,
    Depends,
    Drop,
    JobCancelled,
    JobDropped,
    JobFailed,
    JobTimeout,
    Queue,
    Retry,
    Task,
    UsageError,
    Worker,
    gather,
)
from aiostreamq.testing.performing import perform_call
from tests.hostile.exceptions import Interrupts, RaisesForAll
from tests.support import dependency_app as app
from tests.support.waiting import PATIENCE, wait_until


class Session:
    """The value of a dependency, and the events of its life."""

    def __init__(self) -> None:
        self.events: list[str] = []


class Ledger:
    """The session of each run, in all the forms that a dependency can have."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def sync(self) -> Generator[str]:
        """Open it in a thread."""
        assert threading.current_thread() is not threading.main_thread()
        self.events.append("open")
        try:
            yield "value"
        except BaseException as error:
            assert threading.current_thread() is not threading.main_thread()
            self.events.append(f"roll back {type(error).__name__}")
            raise
        self.events.append("commit")

    async def asynchronous(self) -> AsyncGenerator[str]:
        """Open it on the loop."""
        self.events.append("open")
        try:
            yield "value"
        except BaseException as error:
            self.events.append(f"roll back {type(error).__name__}")
            raise
        self.events.append("commit")


#: How each form is made of a ledger.
FORMS: dict[str, Callable[[Ledger], Callable[..., Any]]] = {
    "generator": lambda ledger: ledger.sync,
    "async generator": lambda ledger: ledger.asynchronous,
    "context manager": lambda ledger: contextmanager(ledger.sync),
    "async context manager": lambda ledger: asynccontextmanager(ledger.asynchronous),
}


@pytest.fixture(params=list(FORMS))
def form(request: pytest.FixtureRequest) -> Callable[[Ledger], Callable[..., Any]]:
    """A way in which a dependency can be written that is cleaned up."""
    return FORMS[request.param]


def tasks_of(queue: Queue, session: Callable[..., Any]) -> dict[str, Task[..., Any]]:
    """Return a task of each kind that depends on *session*, and raises what it is asked to."""

    @queue.task(name="awaited")
    async def awaited(end: str, value: str = Depends(session)) -> str:
        if end == "hang":
            await asyncio.Event().wait()
        raise_for(end)
        return value

    @queue.task(name="threaded")
    def threaded(ctx: Context, end: str, *, value: Annotated[str, Depends(session)]) -> str:
        while end == "hang" and not ctx.is_cancelled:
            pass
        raise_for(end)
        return value

    @queue.task(name="streamed")
    async def streamed(end: str, value: str = Depends(session)) -> AsyncGenerator[str]:
        yield value
        if end == "hang":
            await asyncio.Event().wait()
        raise_for(end)

    return {"awaited": awaited, "threaded": threaded, "streamed": streamed}


def raise_for(end: str) -> None:
    """Raise what *end* says."""
    errors: dict[str, Exception] = {"fail": ValueError("no"), "drop": Drop("enough")}
    if end in errors:
        raise errors[end]


KINDS = ("awaited", "threaded", "streamed")


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("kind", KINDS)
async def test_success_commits(
    queue: Queue, form: Callable[[Ledger], Callable[..., Any]], kind: str
) -> None:
    """A run that returns lets its dependency continue after the yield."""
    ledger = Ledger()
    task = tasks_of(queue, form(ledger))[kind]
    async with Worker(queue):
        assert await (await task.enqueue("return")) == (None if kind == "streamed" else "value")
    assert ledger.events == ["open", "commit"]


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("end", "error", "event"),
    [
        ("fail", JobFailed, "roll back ValueError"),
        ("drop", JobDropped, "roll back Drop"),
        ("hang", JobTimeout, "roll back CancelledError"),
    ],
)
async def test_failure_rolls_back(
    queue: Queue,
    form: Callable[[Ledger], Callable[..., Any]],
    kind: str,
    end: str,
    error: type[Exception],
    event: str,
) -> None:
    """However a run fails, its exception is raised where the dependency yields."""
    ledger = Ledger()
    task = tasks_of(queue, form(ledger))[kind].using(timeout=0.3 if end == "hang" else None)
    async with Worker(queue):
        job = await task.enqueue(end)
        with pytest.raises(error):
            await job
        await wait_until(lambda: ledger.events == ["open", event], "the roll-back")


async def test_cancel_rolls_back(
    queue: Queue, form: Callable[[Ledger], Callable[..., Any]]
) -> None:
    """A cancelled job is a failed one for its dependencies."""
    ledger = Ledger()
    task = tasks_of(queue, form(ledger))["awaited"]
    async with Worker(queue):
        job = await task.enqueue("hang")
        await wait_until(lambda: ledger.events == ["open"], "the job")
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job
    assert ledger.events == ["open", "roll back CancelledError"]


async def test_result_that_cannot_be_sent(queue: Queue) -> None:
    """Nothing is committed if the result cannot be sent."""
    ledger = Ledger()

    @queue.task
    async def unsendable(value: str = Depends(ledger.asynchronous)) -> Any:
        return object()

    async with Worker(queue):
        with pytest.raises(JobFailed, match="PayloadError"):
            await (await unsendable.enqueue())
    assert ledger.events == ["open", "roll back PayloadError"]


async def test_failed_commit(queue: Queue) -> None:
    """A clean-up that fails after a success fails the run; the other clean-ups learn of it."""
    ledger = Ledger()

    async def committing(outer: str = Depends(ledger.asynchronous)) -> AsyncGenerator[str]:
        yield outer
        raise ConnectionError("no commit")

    @queue.task
    async def succeed(value: str = Depends(committing)) -> str:
        return value

    async with Worker(queue):
        with pytest.raises(JobFailed, match="no commit"):
            await (await succeed.enqueue())
    assert ledger.events == ["open", "roll back ConnectionError"]


async def test_failed_roll_back(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """A clean-up that fails after a failure is logged beside the first error, which counts."""
    ledger = Ledger()

    async def broken(outer: str = Depends(ledger.asynchronous)) -> AsyncGenerator[str]:
        try:
            yield outer
        finally:
            raise ConnectionError("no roll-back")

    @queue.task
    async def fail(value: str = Depends(broken)) -> None:
        raise ValueError("the first")

    async with Worker(queue):
        with pytest.raises(JobFailed, match="the first"):
            await (await fail.enqueue())
    assert ledger.events == ["open", "roll back ValueError"]
    assert "the clean-up of dependency 'broken' raised ConnectionError" in caplog.text


async def test_swallowed(queue: Queue) -> None:
    """A dependency that swallows the exception does not make a success of the run."""

    async def swallowing() -> AsyncGenerator[None]:
        with suppress(ValueError):
            yield

    @queue.task
    async def fail(value: None = Depends(swallowing)) -> None:
        raise ValueError("it counts")

    async with Worker(queue):
        with pytest.raises(JobFailed, match="it counts"):
            await (await fail.enqueue())


async def test_failed_dependency(queue: Queue) -> None:
    """A dependency that fails fails the attempt, and those before it are cleaned up."""
    ledger, tries = Ledger(), list[int]()

    async def failing(ctx: Context, outer: str = Depends(ledger.asynchronous)) -> str:
        tries.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ConnectionError("away")
        return outer

    @queue.task(retry=Retry(2, base=0.01))
    async def task(value: str = Depends(failing)) -> str:
        return value

    async with Worker(queue):
        assert await (await task.enqueue()) == "value"
    assert tries == [1, 2]
    assert ledger.events == ["open", "roll back ConnectionError", "open", "commit"]


async def test_order_and_cache(queue: Queue) -> None:
    """A value is made once for a run, unless it is asked not to be, and cleaned up in reverse."""
    events: list[str] = []

    async def base() -> AsyncGenerator[object]:
        events.append("open base")
        yield object()
        events.append("close base")

    async def left(base: object = Depends(base)) -> AsyncGenerator[object]:
        events.append("open left")
        yield base
        events.append("close left")

    class Right:
        def __init__(self, base: object = Depends(base)) -> None:
            self.base = base

    @queue.task
    async def same(
        one: object = Depends(left),
        two: Right = Depends(Right),
        three: object = Depends(base, use_cache=False),
    ) -> list[bool]:
        return [one is two.base, one is three]

    async with Worker(queue):
        assert await (await same.enqueue()) == [True, False]
    opened = ["open base", "open left", "open base"]
    assert events == [*opened, "close base", "close left", "close base"]


async def test_worker_scope(queue: Queue) -> None:
    """A value of the scope "worker" is made once, when first needed, and cleaned up at the end."""
    events: list[str] = []

    async def client() -> AsyncGenerator[object]:
        events.append("open")
        await asyncio.sleep(0)
        yield object()
        events.append("close")

    @queue.task
    async def which(client: object = Depends(client, scope="worker")) -> int:
        return id(client)

    async with Worker(queue):
        assert not events
        jobs = [await which.enqueue() for _ in range(5)]
        assert len({await job for job in jobs}) == 1
        assert events == ["open"]
    assert events == ["open", "close"]


async def test_worker_scope_fails(queue: Queue) -> None:
    """One that fails fails the jobs that wait for it, and the next job tries again."""
    errors: list[Exception] = [ConnectionError("away")]

    async def client() -> str:
        if errors:
            raise errors.pop()
        return "client"

    @queue.task
    async def use(client: str = Depends(client, scope="worker")) -> str:
        return client

    async with Worker(queue):
        with pytest.raises(JobFailed, match="away"):
            await (await use.enqueue())
        assert await (await use.enqueue()) == "client"


def plain(error: BaseException) -> Callable[[], object]:
    """A dependency that raises in a thread."""

    def dependency() -> None:
        raise error

    return dependency


def entering(error: BaseException) -> Callable[[], object]:
    """A context manager that raises in a thread at its start."""

    def dependency() -> Generator[None]:
        raise error
        yield

    return dependency


def leaving(error: BaseException) -> Callable[[], object]:
    """A context manager that raises in a thread at its end."""

    def dependency() -> Generator[None]:
        yield
        raise error

    return dependency


def leaving_async(error: BaseException) -> Callable[[], object]:
    """An asynchronous context manager that raises at its end."""

    async def dependency() -> AsyncGenerator[None]:
        yield
        raise error

    return dependency


# Classes: pytest itself would ask the exceptions.
HOSTILE = (
    *(SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit),
    *(StopIteration, StopAsyncIteration, Interrupts, RaisesForAll),
)


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("scope", ["job", "worker"])
@pytest.mark.parametrize("error", HOSTILE)
@pytest.mark.parametrize("make", [plain, entering, leaving, leaving_async])
async def test_hostile_exception(
    queue: Queue,
    make: Callable[[BaseException], Callable[[], object]],
    error: type[BaseException],
    scope: Any,
) -> None:
    """A dependency may raise anything: its job ends, other jobs run, and the worker ends."""

    @queue.task
    async def use(_: object = Depends(make(error()), scope=scope)) -> int:
        return 1

    @queue.task
    async def other() -> int:
        return 2

    async with asyncio.timeout(PATIENCE), Worker(queue):
        result = (await gather([await use.enqueue()], return_exceptions=True))[0]
        fails = scope == "job" or make in {plain, entering}
        assert isinstance(result, JobFailed) if fails else result == 1
        assert await (await other.enqueue()) == 2


def test_hanging_thread() -> None:
    """A dependency of the scope "worker" that hangs in its thread does not keep the program."""
    queue, release = Queue("memory://"), threading.Event()

    @queue.task(timeout=0.1)
    async def use(_: object = Depends(release.wait, scope="worker")) -> None:
        return None

    async def main() -> None:
        async with queue, Worker(queue):
            with pytest.raises(JobTimeout):
                await (await use.enqueue())

    def program() -> None:
        asyncio.run(main())

    running = threading.Thread(target=program, daemon=True)
    running.start()
    running.join(PATIENCE)
    hangs = running.is_alive()
    release.set()
    assert not hangs


async def test_lifespan_state(queue: Queue) -> None:
    """A lifespan is a dependency: its state."""

    @queue.lifespan
    async def one() -> AsyncGenerator[str]:
        yield "one"

    @queue.lifespan
    async def two() -> AsyncGenerator[str]:
        yield "two"

    def both(first: str = Depends(one), second: str = Depends(two)) -> str:
        return first + second

    @queue.task
    async def read(state: str = Depends(both)) -> str:
        return state

    async with Worker(queue):
        assert await (await read.enqueue()) == "onetwo"


async def test_override(queue: Queue) -> None:
    """A test can put another function in the place of a dependency, also of a nested one."""

    def base() -> str:
        return "real"

    def derived(base: str = Depends(base)) -> str:
        return f"{base}, derived"

    @queue.task
    async def read(value: str = Depends(derived)) -> str:
        return value

    async with Worker(queue):
        with queue.override(base, lambda: "fake"):
            assert await (await read.enqueue()) == "fake, derived"
            with queue.override(derived, lambda: "other"):
                assert await (await read.enqueue()) == "other"
            assert await (await read.enqueue()) == "fake, derived"
        assert await (await read.enqueue()) == "real, derived"


class Unhashable:
    """A function that cannot be a key."""

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __call__(self) -> int:
        """Be a dependency."""
        return 1


def test_override_unhashable() -> None:
    """A function that cannot be hashed is refused on either side."""
    queue = Queue("memory://")
    for functions in ((Unhashable(), job_scope), (job_scope, Unhashable())):
        with pytest.raises(UsageError, match="wrap the object"), queue.override(*functions):
            pass


async def test_override_lifespan(queue: Queue) -> None:
    """A test can put another function in the place of a lifespan, which is then not entered."""

    @queue.lifespan
    async def real() -> AsyncGenerator[str]:
        raise AssertionError("entered")
        yield ""

    async def fake() -> AsyncGenerator[str]:
        yield "fake"

    @queue.task
    async def read(ctx: Context[str], state: str = Depends(real)) -> list[str]:
        return [ctx.state, state]

    with queue.override(real, fake):
        async with Worker(queue):
            assert await (await read.enqueue()) == ["fake", "fake"]


def test_override_function_of_a_lifespan() -> None:
    """The function that was given to `queue.lifespan` is refused: its override changes nothing."""

    async def real() -> AsyncGenerator[str]:
        yield "real"

    async def fake() -> AsyncGenerator[str]:
        yield "fake"

    @asynccontextmanager
    async def managed() -> AsyncGenerator[str]:
        yield "managed"

    queue = Queue("memory://")
    for function in (real, managed):
        lifespan = queue.lifespan(function)
        with pytest.raises(UsageError, match=r"the Lifespan that .* returned"):
            queue.override(function, fake)
        with queue.override(lifespan, fake):
            pass


def needs(argument: int) -> int:
    """Need what is neither a dependency nor the context."""
    return argument


def job_scope() -> int:
    """Belong to one run."""
    return 1


def mixed(value: int = Depends(job_scope)) -> int:
    """Depend on something of the scope "job"."""
    return value


def of_context(ctx: Context) -> int:
    """Depend on the context."""
    return ctx.attempt


def around(value: int) -> int:
    """Depend on itself, by another."""
    return value


def back(value: int) -> int:
    """Depend on the other."""
    return value


def misspelt(value: int) -> int:
    """Have an annotation that does not exist."""
    return value


around.__annotations__["value"] = Annotated[int, Depends(back)]
back.__annotations__["value"] = Annotated[int, Depends(around)]
misspelt.__annotations__["value"] = "Annotatd[int]"


@pytest.mark.parametrize(
    ("dependency", "scope", "why"),
    [
        (needs, "job", "'needs' has the parameter 'argument'"),
        (mixed, "worker", "'mixed' has the scope 'worker' and depends on 'job_scope'"),
        (of_context, "worker", "a context belongs to one job"),
        (around, "job", "around -> back -> around"),
        (bytes, "job", "dependency 'bytes': Python does not know its parameters"),
        (misspelt, "job", "dependency 'misspelt': argument 'value' is annotated Annotatd"),
    ],
)
def test_refused(dependency: Callable[..., int], scope: Any, why: str) -> None:
    """A plan that cannot work is refused at registration, and whose fault it is is named."""
    queue = Queue("memory://")

    def task(value: int = Depends(dependency, scope=scope)) -> None:
        """Do nothing."""

    with pytest.raises(UsageError, match=why):
        queue.task(task)
    assert not queue.tasks


def test_refused_forms() -> None:
    """A Depends that can never work is refused at once."""
    for wrong in (None, 1, "get_session"):
        with pytest.raises(UsageError, match="give it a function"):
            Depends(wrong)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(UsageError, match="the scopes are"):
        Depends(job_scope, scope="request")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(UsageError, match="once"):
        Depends(job_scope, scope="worker", use_cache=False)


def test_other_queues_lifespan() -> None:
    """A task cannot depend on the lifespan of another queue."""

    @Queue("memory://").lifespan
    async def other() -> AsyncGenerator[int]:
        yield 1

    def task(value: int = Depends(other)) -> None:
        """Do nothing."""

    with pytest.raises(UsageError, match="not one of queue 'default'"):
        Queue("memory://").task(task)


async def test_not_an_argument(queue: Queue) -> None:
    """Callers leave dependencies out; a direct call takes them."""

    @queue.task
    async def add(one: int, extra: int = Depends(job_scope), two: int = 2) -> int:
        return one + extra + two

    @queue.task
    async def lengthen(one: str, tail: Session = Depends(Session)) -> str:
        return one + tail.events[0]

    for wrong in (lambda: add.enqueue(1, extra=5), lambda: add.enqueue(1, 2, 3)):
        with pytest.raises(UsageError):
            await wrong()
    assert await add(1, 5) == 8
    with pytest.raises(UsageError, match="pass the value yourself"):
        await lengthen("a")
    async with Worker(queue):
        jobs = [await add.enqueue(1), await add.enqueue(1, 7), await add.enqueue(one=1, two=0)]
        assert [await job for job in jobs] == [4, 9, 2]


async def test_cancelled_while_opening(queue: Queue) -> None:
    """A thread that is still opening a dependency when the job is cancelled closes it itself."""
    opening, go_on = threading.Event(), threading.Event()
    events: list[str] = []

    def slow() -> Generator[None]:
        opening.set()
        go_on.wait(60)
        try:
            yield
        finally:
            events.append("closed")

    @queue.task
    async def task(value: None = Depends(slow)) -> None:
        """Do nothing."""

    async with Worker(queue):
        job = await task.enqueue()
        await wait_until(opening.is_set, "the thread")
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job
        go_on.set()
        await wait_until(lambda: events == ["closed"], "the clean-up")


@pytest.fixture
async def app_queue(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Queue]:
    """The queue of the app, whose tasks run in processes."""
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    app.queue.use_url(store_url)
    async with app.queue as queue:
        yield queue


async def test_process(app_queue: Queue, tmp_path: Path) -> None:
    """Tasks in processes have dependencies of both scopes, cleaned up there."""
    async with Worker(app_queue, processes=1):
        assert await (await app.work.enqueue(False)) == "session of client of state"
        with pytest.raises(JobFailed, match="ValueError"):
            await (await app.work.enqueue(True))
        with (
            app_queue.override(app.client, lambda: "fake"),
            pytest.raises(JobFailed, match=r"queue\.override does not reach"),
        ):
            await (await app.work.enqueue(False))
    lines = (tmp_path / "ledger").read_text().splitlines()  # a few bytes
    assert [line.partition(" ")[2] for line in lines] == [
        "open client",
        *("open session 1", "commit"),
        *("open session 1", "roll back ValueError"),
        "close client",
    ]


async def test_process_errors(app_queue: Queue) -> None:
    """A job in a process fails with what a dependency raised, at its start or its end."""
    async with Worker(app_queue, processes=1):
        for place in ("start-in-thread", "end-in-thread", "start-on-loop", "end-on-loop"):
            for kind in ("ValueError", "SystemExit", "KeyboardInterrupt"):
                job = await app.endangered.using(headers={place: kind}).enqueue()
                with pytest.raises(JobFailed, match=f"^{kind}: {place}"):
                    await job
        assert await (await app.endangered.enqueue()) == ["in thread", "on loop"]


@pytest.mark.parametrize("function", [app.faulty_in_thread, app.faulty_on_loop])
@pytest.mark.parametrize("place", ["start", "end"])
async def test_perform_errors(function: Any, place: str) -> None:
    """`perform` raises what a dependency raised, at its start or its end."""
    queue = Queue("memory://")

    @queue.task
    async def task(value: str = Depends(function)) -> str:
        return value

    where = function.__name__.partition("_")[2].replace("_", "-")
    call = task.using(headers={f"{place}-{where}": "ValueError"}).bind()
    async with queue:
        with pytest.raises(ValueError, match=f"{place}-{where}"):
            await perform_call(queue, call, 1, 1)
        assert await perform_call(queue, task.bind(), 1, 1) == where.replace("-", " ")


async def test_perform() -> None:
    """`perform` provides dependencies and the state, for one call."""
    ledger, queue = Ledger(), Queue("memory://")

    @queue.lifespan
    async def state() -> AsyncGenerator[str]:
        yield "state"

    @queue.task
    async def task(
        ctx: Context[str], end: str, value: str = Depends(ledger.sync), of: str = Depends(state)
    ) -> list[str]:
        raise_for(end)
        return [ctx.state, value, of]

    async with queue:
        found = await perform_call(queue, task.bind("return"), 1, 1)
        assert found == ["state", "value", "state"]
        with pytest.raises(ValueError, match="no"):
            await perform_call(queue, task.bind("fail"), 1, 1)
    assert ledger.events == ["open", "commit", "open", "roll back ValueError"]
