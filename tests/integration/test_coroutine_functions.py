"""What is awaited is a coroutine function: frameworks and mock ask, and then do the right thing."""

import asyncio
import functools
import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.background import BackgroundTask

from aiostreamq import Job, JobNotFound, Queue, Worker
from tests.support.waiting import PATIENCE, wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # which httpx it takes is not the point
    from starlette.testclient import TestClient

plain = Queue("memory://")
ran: list[int] = []


async def same(n: int) -> int:
    """Give back what came."""
    return n


@plain.task
async def note(n: int) -> int:
    """Note that it ran."""
    ran.append(n)
    return n


@plain.task
def note_in_thread(n: int) -> int:
    """The same in a thread."""
    ran.append(n)
    return n


@plain.task
async def stream(n: int) -> AsyncIterator[int]:
    """Give numbers."""
    for each in range(n):
        yield each


COROUTINE_FUNCTIONS: dict[str, Callable[..., object]] = {
    "task": note,
    "partial of a task": functools.partial(note, 1),
    "its call": note.__call__,
    "enqueue": note.enqueue,
    "enqueue of a def": note_in_thread.enqueue,
    "enqueue of a stream": stream.enqueue,
    "enqueue with options": note.using(delay=1).enqueue,
    "enqueue by name": plain.named("unknown").enqueue,
    "partial of enqueue": functools.partial(note.enqueue, 1),
    "queue.enqueue": plain.enqueue,
    "queue.enqueue_many": plain.enqueue_many,
    "queue.open": plain.open,
    "queue.aclose": plain.aclose,
}


@pytest.mark.parametrize("which", COROUTINE_FUNCTIONS)
def test_is_a_coroutine_function(which: str) -> None:
    """`inspect` and asyncio say so."""
    function = COROUTINE_FUNCTIONS[which]
    assert inspect.iscoroutinefunction(function)
    assert callable(function)


def test_is_no_coroutine_function() -> None:
    """What is called without await is none."""
    for function in (note_in_thread, stream, note.bind, note.using):
        assert not inspect.iscoroutinefunction(function)


def test_looks_like_its_function() -> None:
    """The rest that `inspect` tells of a task is what its function says."""
    assert str(inspect.signature(note)) == "(n: int) -> int"
    assert "Note that it ran" in (inspect.getdoc(note) or "")
    assert "ran.append(n)" in inspect.getsource(note)


def test_made_without_a_loop() -> None:
    """Nothing needs an event loop before it is awaited."""
    queue = Queue("memory://")
    task = queue.task(same)

    async def enqueue_twice() -> list[Job[int]]:
        return [await task.enqueue(1), await asyncio.create_task(task.enqueue(2))]

    coroutines = [task.enqueue(3), queue.enqueue(task, 4), queue.enqueue_many([task.bind(5)])]
    jobs, handle = queue.jobs(), queue.job("unknown")
    assert len(asyncio.run(enqueue_twice())) == 2
    for each in coroutines:
        asyncio.run(each)

    async def look() -> int:
        with pytest.raises(JobNotFound):
            await handle.status()
        return len([job async for job in jobs])

    assert asyncio.run(look()) == 5


@pytest.mark.parametrize("what", ["task", "enqueue", "add task", "add enqueue"])
async def test_background_tasks(store_url: str, what: str) -> None:
    """Starlette and FastAPI run a task, or enqueue it, after the response."""
    queue = Queue(store_url)
    done: list[int] = []

    @queue.task
    async def send(n: int) -> None:
        done.append(n)

    several = BackgroundTasks()
    match what:
        case "task":
            background: BackgroundTask | BackgroundTasks = BackgroundTask(send, 7)
        case "enqueue":
            background = BackgroundTask(send.enqueue, 7)
        case "add task":
            background = several
            several.add_task(send, 7)
        case _:
            background = several
            several.add_task(send.enqueue, n=7)
    async with queue, Worker(queue):
        await background()
        await wait_until(lambda: done, "the task to run")
    assert done == [7]


def send_and_ask(client: httpx.Client) -> object:
    """Have a job enqueued, and ask for it."""
    job_id: str = client.post("/double", params={"n": 7}).json()
    answer: object = client.get("/handler", params={"job_id": job_id}).json()
    return answer


@pytest.mark.parametrize("lifespan", ["opens the queue", "does nothing"])
def test_client_of_starlette(store_url: str, lifespan: str) -> None:
    """Each TestClient has event loops of its own, for one test after the other."""
    queue = Queue(store_url)
    workers: list[Worker] = []

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncGenerator[None, None]:
        async with queue, Worker(queue) as worker:
            workers.append(worker)
            yield
        workers.clear()

    app = FastAPI(lifespan=opened if lifespan == "opens the queue" else None)

    @app.post("/double")
    async def enqueue(n: int, background: BackgroundTasks) -> str:
        background.add_task(double.enqueue, n + 1)
        return (await double.enqueue(n)).id

    @app.get("/handler")
    async def wait(job_id: str) -> object:
        async with queue:
            job = queue.job(job_id)
            return await (job.result(timeout=PATIENCE) if workers else job.status())

    expected = 14 if lifespan == "opens the queue" else "queued"
    for _ in range(3):
        with TestClient(app) as client:
            assert send_and_ask(client) == expected
    # Without lifespan each request has a loop of its own.
    assert send_and_ask(TestClient(app)) == "queued"
    asyncio.run(queue.aclose())


async def test_mock() -> None:
    """`patch` puts something there that can be awaited."""
    queue = Queue("memory://")

    @queue.task
    async def send(n: int) -> None: ...

    with patch.object(send, "enqueue") as enqueue:
        assert isinstance(enqueue, AsyncMock)
        await send.enqueue(1)
        enqueue.assert_awaited_once_with(1)
    with patch(f"{__name__}.note") as mocked:
        assert isinstance(mocked, AsyncMock)
        await note.enqueue(1)
        mocked.enqueue.assert_awaited_once_with(1)
    with patch.object(queue, "enqueue_many") as many:
        await queue.enqueue_many([])
        many.assert_awaited_once_with([])
