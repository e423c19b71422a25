"""Lifespans: what workers open before their first job, and close after their last one."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import anyio
import pytest

from aiostreamq import Context, LifespanFailed, Queue, UsageError, Worker, WorkerState
from aiostreamq.client.resources import worker_scope
from tests.hostile.exceptions import Interrupts, RaisesForAll
from tests.support import lifespan_app as app
from tests.support.http import ask
from tests.support.nightly import mostly_nightly
from tests.support.notify_socket import NotifySocket
from tests.support.processes import ROOT, Program, worker_program
from tests.support.waiting import wait_until

APP = "tests.support.lifespan_app:queue"

ALONE: tuple[str, ...] = ()
SUPERVISED = ("--workers", "2")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the lifespans of the app write down what happens."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("LEDGER", str(path))
    return path


@pytest.fixture
async def app_queue(store_url: str, ledger: Path) -> AsyncIterator[Queue]:
    """The queue of the app."""
    app.queue.use_url(store_url)
    async with app.queue as queue:
        yield queue


def noted(ledger: Path, pid: int | None = None) -> list[str]:
    """Return what was written down, by one process or by all."""
    lines = [line.partition(" ") for line in ledger.read_text().splitlines()]
    return [what for process, _, what in lines if pid is None or int(process) == pid]


LIFE = ["enter counting", "enter silent", "job", "leave silent", "leave counting"]


def recording(queue: Queue, name: str, events: list[str], **raises: Exception) -> None:
    """Declare a lifespan that writes down what happens to it, and may raise."""

    @queue.lifespan
    async def recorded() -> AsyncGenerator[None]:
        events.append(f"enter {name}")
        if error := raises.get("start"):
            raise error
        try:
            yield
        finally:
            events.append(f"leave {name}")
            if error := raises.get("end"):
                raise error

    recorded.name = name  # for messages


@pytest.mark.may_block("the lifespans write to a file")
async def test_around_all_jobs(app_queue: Queue, ledger: Path) -> None:
    """It is entered before the first job and left after the last one, and jobs have its state."""
    async with Worker(app_queue):
        assert await (await app.here.enqueue()) == [os.getpid(), os.getpid()]
    assert noted(ledger) == LIFE


@pytest.mark.may_block("the lifespans write to a file")
async def test_in_process(app_queue: Queue, ledger: Path) -> None:
    """A task process enters it when its first job comes, and leaves it when it ends."""
    async with Worker(app_queue, processes=1):
        pid, entered = await (await app.there.enqueue())
        assert pid == entered != os.getpid()
        assert await (await app.there.enqueue()) == [pid, pid]
    assert noted(ledger, pid) == [*LIFE[:3], *LIFE[2:]]


def manager() -> AbstractAsyncContextManager[str]:
    """Return a context manager."""
    return nullcontext("state")


class Resource:
    """A context manager by itself."""

    async def __aenter__(self) -> str:
        return "state"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


async def generator() -> AsyncGenerator[str]:
    """Yield the state."""
    yield "state"


@pytest.mark.parametrize("function", [generator, asynccontextmanager(generator), manager, Resource])
async def test_forms(queue: Queue, function: Callable[[], Any]) -> None:
    """Each form of an asynchronous context manager can be a lifespan, and be opened by hand."""
    lifespan = queue.lifespan(function)

    @queue.task
    async def read(ctx: Context[str]) -> str:
        return ctx.state

    async with Worker(queue):
        assert await (await read.enqueue()) == "state"
    async with lifespan() as state:
        assert state == "state"


def needs_app(app: object) -> AbstractAsyncContextManager[None]:
    """Take an argument."""
    return nullcontext()


async def no_yield() -> None:
    """Yield nothing."""


def sync_generator() -> Generator[None]:
    """Yield, but not to the loop."""
    yield


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (needs_app, "'needs_app' has the parameter 'app'"),
        (no_yield, "'no_yield' does not yield"),
        (sync_generator, "make it an `async def`"),
        (None, "an object of type 'NoneType'"),
    ],
)
def test_refused(function: Any, why: str) -> None:
    """A function that cannot be a lifespan is refused when it is declared."""
    with pytest.raises(UsageError, match=why):
        Queue("memory://").lifespan(function)


def test_refused_for_processes() -> None:
    """One that a process cannot import is refused as soon as the queue has a task for processes."""
    queue = Queue("memory://")
    local = asynccontextmanager(generator)
    local.__qualname__ = "test.<locals>.local"
    queue.lifespan(local)
    with pytest.raises(UsageError, match="finds the lifespan by importing it"):
        queue.task(executor="process", name="there")(app.there.__wrapped__)


async def test_order(queue: Queue) -> None:
    """They are entered in the order of their declaration, and left in reverse."""
    events: list[str] = []
    for name in ("one", "two", "three"):
        recording(queue, name, events)
    async with Worker(queue):
        assert events == ["enter one", "enter two", "enter three"]
    assert events[3:] == ["leave three", "leave two", "leave one"]


async def test_shared(queue: Queue) -> None:
    """The workers of a queue in one loop share one entry, and a later worker enters it again."""
    events: list[str] = []
    recording(queue, "it", events)
    async with Worker(queue):
        async with Worker(queue):
            assert events == ["enter it"]
        assert events == ["enter it"]
    assert events == ["enter it", "leave it"]
    await Worker(queue).run(burst=True)
    assert events == ["enter it", "leave it"] * 2


@pytest.mark.parametrize("end", ["stop", "drain", "burst", "cancel", "abort"])
async def test_every_end(queue: Queue, end: str) -> None:
    """It is left however the worker ends."""
    events: list[str] = []
    recording(queue, "it", events)
    worker = Worker(queue)
    running = asyncio.create_task(worker.run(burst=end == "burst"))
    await wait_until(lambda: worker.is_ready or running.done(), "the worker")
    match end:
        case "stop":
            worker.stop()
        case "drain":
            worker.drain()
        case "abort":
            worker.abort()
        case "cancel":
            running.cancel()
        case _:
            pass
    await asyncio.wait({running})
    await wait_until(lambda: events == ["enter it", "leave it"], "the lifespan to be left")


@pytest.mark.parametrize("end", ["stop", "drain", "abort"])
async def test_end_at_each_step_of_the_start(end: str) -> None:
    """It is left whenever the worker is asked to end, in each turn of the event loop."""
    steps, was_ready = 0, False
    while not was_ready:
        events: list[str] = []
        async with Queue("memory://start") as queue:
            recording(queue, "it", events)
            worker = Worker(queue)
            running = asyncio.create_task(worker.run())
            for _ in range(steps):
                was_ready = worker.is_ready
                await asyncio.sleep(0)
            getattr(worker, end)()
            await asyncio.wait({running})
        assert events in ([], ["enter it", "leave it"]), f"after {steps} steps"
        steps += 1


@pytest.mark.parametrize("end", ["stop", "cancel", "abort"])
async def test_end_while_entering(queue: Queue, end: str) -> None:
    """A lifespan that hangs at its start does not keep a worker that is asked to end."""
    events: list[str] = []
    recording(queue, "first", events)

    @queue.lifespan
    async def hanging() -> AsyncGenerator[None]:
        events.append("hangs")
        await asyncio.Event().wait()
        yield

    worker = Worker(queue)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: "hangs" in events, "the lifespan")
    assert worker.state is WorkerState.STARTING
    if end == "stop":
        worker.stop()
    else:
        if end == "abort":
            worker.abort()
        running.cancel()
    await asyncio.wait({running})
    assert end != "cancel" or running.cancelled()
    assert events == ["enter first", "hangs", "leave first"]


async def test_failed_start(queue: Queue) -> None:
    """A lifespan that fails at its start is named, and those before it are left."""
    events: list[str] = []
    recording(queue, "first", events)
    recording(queue, "second", events, start=ConnectionError("away"))
    worker = Worker(queue)
    with pytest.raises(LifespanFailed, match=r"'second'.*ConnectionError: away") as caught:
        await worker.run()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert worker.state is WorkerState.STOPPED
    assert events == ["enter first", "enter second", "leave first"]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_hostile_start(queue: Queue, error: BaseException) -> None:
    """Any exception of a lifespan at its start fails the start, and nothing else."""

    @queue.lifespan
    async def hostile() -> AsyncGenerator[None]:
        raise error
        yield

    with pytest.raises(LifespanFailed, match="hostile"):
        await Worker(queue).run()


async def test_failed_end(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """A lifespan that fails at its end is logged; the others are left, and no job is lost."""
    events: list[str] = []
    recording(queue, "first", events)
    recording(queue, "second", events, end=ConnectionError("away"))

    @queue.task
    async def job() -> int:
        return 1

    async with Worker(queue):
        assert await (await job.enqueue()) == 1
    assert events[2:] == ["leave second", "leave first"]
    assert "lifespan 'second' failed at its end" in caplog.text


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, Interrupts, RaisesForAll])
async def test_hostile_end(queue: Queue, error: type[BaseException]) -> None:
    """Any exception of a lifespan at its end is logged, and the worker ends as always."""

    @queue.lifespan
    async def hostile() -> AsyncGenerator[None]:
        yield
        raise error()

    async with Worker(queue) as worker:
        assert worker.is_ready
    assert worker.state is WorkerState.STOPPED


@pytest.mark.parametrize("obeys", [True, False])
async def test_hanging_end(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, obeys: bool
) -> None:
    """A lifespan that hangs at its end is cancelled, and then abandoned."""
    defaults = worker_scope.WorkerScope.aclose.__defaults__
    assert defaults is not None
    monkeypatch.setattr(worker_scope.WorkerScope.aclose, "__defaults__", (0.1,))
    release = asyncio.Event()

    @queue.lifespan
    async def hanging() -> AsyncGenerator[None]:
        yield
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                if obeys:
                    raise

    await Worker(queue).run(burst=True)
    assert "lifespan 'hanging' did not end within 0.1 s" in caplog.text
    assert ("is abandoned" in caplog.text) is not obeys
    release.set()


async def test_ends_by_itself(queue: Queue) -> None:
    """The worker stops if a background task of the lifespan ends the lifespan."""
    broken = asyncio.Event()

    @queue.lifespan
    async def with_group() -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    async def fail() -> None:
        await broken.wait()
        raise ConnectionError("the pool is gone")

    worker = Worker(queue)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: worker.is_ready, "the worker")
    broken.set()
    with pytest.raises(LifespanFailed, match=r"'with_group' .* ended while the worker was running"):
        await running


async def test_several_states(queue: Queue) -> None:
    """If several lifespans yield a state, the context says so in place of choosing one."""
    queue.lifespan(manager)
    queue.lifespan(generator)

    @queue.task
    async def read(ctx: Context[Any]) -> str:
        return cast("str", ctx.state.upper())

    async with Worker(queue):
        job = await read.enqueue()
        with pytest.raises(Exception, match="the lifespans manager, generator all yield a state"):
            await job


async def test_declared_late(queue: Queue) -> None:
    """One that the running worker has not entered is refused."""
    async with Worker(queue):
        with pytest.raises(UsageError, match="runs already"):
            queue.lifespan(manager)


def command(url: str, *options: str) -> Program:
    """Return the command of a worker, not started yet."""
    return worker_program(url, *options, target=APP)


@pytest.mark.may_block("the tests start and kill processes")
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_command(redis_url: str, ledger: Path, options: tuple[str, ...]) -> None:
    """`aiostreamq run` enters it in each worker process, and leaves it after SIGTERM."""
    app.queue.use_url(redis_url)
    async with app.queue, command(redis_url, *options) as program:
        pid, entered = await (await app.here.enqueue())
        assert pid == entered
        count = int(options[1]) if options else 1
        await wait_until(lambda: noted(ledger).count("enter silent") == count, "all to enter")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    events = noted(ledger)
    assert events.count("enter counting") == events.count("leave counting") == count


@pytest.mark.may_block("the tests start and kill processes")
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_command_failed_start(
    redis_url: str, ledger: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed start ends the command with 1 and names the lifespan; a supervisor gives up."""
    monkeypatch.setenv("LIFESPAN", "fails")
    async with command(redis_url, *options) as program:
        assert await program.wait_end() == 1
    assert "lifespan 'counting' of queue 'lifespans' failed at its start" in program.printed
    assert "Traceback" in program.printed
    assert program.printed.count("Another starts in") == (4 if options else 0)


@pytest.mark.may_block("the tests start and kill processes")
async def test_command_hangs(redis_url: str, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is not ready before it has entered the lifespan, and ends on SIGTERM even so."""
    monkeypatch.setenv("LIFESPAN", "hangs")
    async with command(redis_url, "--health-port", "0", "--health-host", "127.0.0.1") as program:
        await wait_until(lambda: noted(ledger) == ["hangs"], "the lifespan")
        line = await program.wait_for_line("health: http://")
        port = int(line.rpartition(":")[2].partition("/")[0])
        assert (await ask(port, "/ready")).status == 503
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0


@pytest.mark.may_block("the tests start and kill processes")
async def test_command_notifies_after_the_start(
    redis_url: str, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY follows the start of the lifespan, and never comes without it."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with NotifySocket(address) as heard:
        async with command(redis_url) as program:
            await wait_until(lambda: heard.count("READY=1") == 1, "it to work")
            assert noted(ledger) == ["enter counting", "enter silent"]
            program.send_signal(signal.SIGTERM)
            assert await program.wait_end() == 0
    address += "2"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("LIFESPAN", "hangs")
    with NotifySocket(address) as heard:
        async with command(redis_url) as program:
            await wait_until(lambda: noted(ledger)[-1:] == ["hangs"], "the lifespan")
            program.send_signal(signal.SIGTERM)
            assert await program.wait_end() == 0
        assert heard.count("READY=1") == 0


@pytest.mark.may_block("the tests start and kill processes")
async def test_command_reload(
    redis_url: str, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload leaves the state and enters it again; a failed start waits for a change."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = tmp_path / "reloaded.py"

    def write(*lines: str) -> None:
        code.write_text("\n".join(["from tests.support.lifespan_app import queue", *lines, ""]))

    write()
    options = ("run", "reloaded:queue", "--url", redis_url, "--reload")
    async with Program("-m", "aiostreamq", *options, where=tmp_path) as program:
        await wait_until(lambda: "enter silent" in noted(ledger), "the first start")
        write("# changed")
        again = ["enter counting", "enter silent", "leave silent", "leave counting"]
        await wait_until(lambda: noted(ledger) == [*again, *again[:2]], "the second start")
        write("import os", "os.environ['LIFESPAN'] = 'fails'")
        await program.wait_for_line("it starts again when code changes")
        assert "lifespan 'counting' of queue 'lifespans' failed at its start" in program.printed
        write("# mended now")
        await wait_until(lambda: noted(ledger) == [*again, *again, *again[:2]], "the third start")
        program.send_signal(signal.SIGINT)
        assert await program.wait_end() == 0
    assert noted(ledger) == again * 3


TWO = ["tests.support.two_lifespans_app:orders", "tests.support.two_lifespans_app:mail"]


def command_of_two(url: str, *options: str) -> Program:
    """Return the command of a worker for two queues, not started yet."""
    return Program("-m", "aiostreamq", "run", *TWO, "--url", url, *options)


@pytest.mark.may_block("the tests start and kill processes")
@pytest.mark.parametrize("options", mostly_nightly([(ALONE,), (SUPERVISED,)], but=[(SUPERVISED,)]))
async def test_command_of_two_queues(
    redis_url: str, ledger: Path, options: tuple[str, ...]
) -> None:
    """Each process enters the lifespan of each queue once, and leaves it once after SIGTERM."""
    count = 2 if options else 1
    orders, mail = Queue(redis_url, name="orders"), Queue(redis_url, name="mail")
    async with orders, mail, command_of_two(redis_url, *options) as program:
        await wait_until(lambda: len(noted(ledger)) == 2 * count, "all to enter")
        assert [await (await orders.enqueue("place")) for _ in range(4)] == ["shop"] * 4
        assert [await (await mail.enqueue("send")) for _ in range(4)] == ["post office"] * 4
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    every = ["enter shop", "enter post office", "leave shop", "leave post office"]
    assert sorted(noted(ledger)) == sorted(every * count)


@pytest.mark.may_block("the tests start and kill processes")
@pytest.mark.parametrize("options", mostly_nightly([(ALONE,), (SUPERVISED,)], but=[(ALONE,)]))
async def test_command_of_two_queues_failed_start(
    redis_url: str, ledger: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails is named with its queue, and the other queue's is left if it was entered."""
    monkeypatch.setenv("LIFESPAN", "fails")
    async with command_of_two(redis_url, *options) as program:
        assert await program.wait_end() == 1
    assert "lifespan 'post_office' of queue 'mail' failed at its start" in program.printed
    assert "the post office is closed" in program.printed
    assert noted(ledger).count("enter shop") == noted(ledger).count("leave shop")
    assert "enter post office" not in noted(ledger)
