"""`queue.sync`: the queue for code without an event loop."""

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from anyio import from_thread
from asgiref.sync import async_to_sync

from aiostreamq import (
    BlockingJob,
    BlockingQueue,
    Context,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    PayloadError,
    Queue,
    QueueFull,
    QueueUnavailable,
    ResultNotKept,
    UsageError,
    WaitTimeout,
    Worker,
    gather,
)
from tests.support.processes import Program
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture(autouse=True)
def closed_doors() -> Iterator[None]:
    """Close what the tests leave open, as the end of a program does."""
    yield
    for queue in OPENED:
        queue.sync.close()
    OPENED.clear()


OPENED: list[Queue] = []


def new_queue(url: str, **options: Any) -> Queue:
    """A queue whose door is closed at the end of the test."""
    queue = Queue(url, **options)
    OPENED.append(queue)
    return queue


def with_tasks(queue: Queue) -> Queue:
    """Give a queue tasks."""

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    @queue.task
    def fail(text: str) -> None:
        raise ValueError(text)

    assert double.name
    assert fail.name
    return queue


async def test_everything_without_a_loop(store_url: str) -> None:
    """Each call does what its asynchronous twin does, while the queue is open in a loop too."""
    queue = with_tasks(new_queue(store_url))
    double, fail = queue.tasks["double"], queue.tasks["fail"]

    def use() -> None:
        sync = queue.sync
        assert isinstance(sync, BlockingQueue)
        assert sync is queue.sync
        job = sync.enqueue(double, 1)
        assert isinstance(job, BlockingJob)
        assert job.is_new
        assert job.result(timeout=PATIENCE) == 2
        assert job.status() == "done"
        assert job.info().task == "double"
        assert sync.job(job.id).result() == 2
        assert sync.enqueue("double", n=2).result(timeout=PATIENCE) == 4
        with pytest.raises(JobFailed, match="why"):
            sync.enqueue(fail, "why").result(timeout=PATIENCE)
        later = sync.enqueue(double.using(delay="1h", id="a"), 1)
        assert later.id == "a"
        assert not sync.enqueue(double.using(id="a"), 1).is_new
        with pytest.raises(WaitTimeout):
            later.result(timeout=0.01)
        assert later.cancel() == "delayed"
        with pytest.raises(JobCancelled):
            later.result()
        assert sync.enqueue(double.using(expires="1h"), 4).result(timeout=PATIENCE) == 8
        jobs = sync.enqueue_many(double.bind(n) for n in range(3_000))
        assert sync.gather(jobs, timeout=PATIENCE) == [2 * n for n in range(3_000)]
        first, second = sync.gather([job, later], return_exceptions=True)
        assert first == 2
        assert isinstance(second, JobCancelled)

    async with queue, Worker(queue):
        await asyncio.to_thread(use)
        assert await (await double.enqueue(5)) == 10
        assert await queue.job("a").status() == "cancelled"


async def same(text: str) -> str:
    """Be a task of another queue."""
    return text


#: Calls that are refused, and their errors, which are those of `enqueue` and `await`.
REFUSED: dict[str, tuple[Callable[[BlockingQueue, Any], object], type[Exception]]] = {
    "wrong arguments": (lambda sync, task: sync.enqueue(task), UsageError),
    "no JSON": (lambda sync, task: sync.enqueue(task, object()), PayloadError),
    "a function": (lambda sync, task: sync.enqueue(task.__wrapped__, 1), UsageError),
    "another queue's": (
        lambda sync, _: sync.enqueue(Queue(name="b").task(same), "1"),
        UsageError,
    ),
    "a bad lane": (lambda sync, task: sync.enqueue(task.using(lane="unknown"), 1), UsageError),
    "one call": (lambda sync, task: sync.enqueue_many(task.bind(1)), UsageError),
    "no calls": (lambda sync, task: sync.enqueue_many([task]), UsageError),
    "no jobs": (lambda sync, task: sync.gather([task]), UsageError),
    "one job": (lambda sync, _: sync.gather(cast("Any", sync.job("a"))), UsageError),
    "no list": (lambda sync, _: sync.gather(cast("Any", None)), UsageError),
    "no such job": (lambda sync, _: sync.job("unknown").status(), JobNotFound),
    "no result": (
        lambda sync, task: sync.enqueue(task.using(result_ttl=0), 1).result(),
        ResultNotKept,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_those_of_the_loop(store_url: str, what: str) -> None:
    """Each is raised in the calling thread; the door can be used after it."""
    queue = with_tasks(new_queue(store_url))
    call, error = REFUSED[what]
    with pytest.raises(error):
        call(queue.sync, queue.tasks["double"])
    assert queue.sync.enqueue(queue.tasks["double"], 1).status() == "queued"


def test_full_lanes(store_url: str) -> None:
    """The error has the number of calls before it, over all that were taken at a time."""
    queue = with_tasks(new_queue(store_url, max_length=2_500))
    double = queue.tasks["double"]
    with pytest.raises(QueueFull) as caught:
        queue.sync.enqueue_many(double.bind(n) for n in range(5_000))
    assert caught.value.enqueued == 2_500
    with pytest.raises(QueueFull):
        queue.sync.enqueue(double, 1)


def test_memory_stays(store_url: str) -> None:
    """A nameless memory:// is one, for the door and for loops, until both are closed."""
    queue = with_tasks(new_queue("memory://"))
    job = queue.sync.enqueue("double", 1)

    async def use() -> str:
        async with queue:
            return await queue.job(job.id).status()

    assert asyncio.run(use()) == "queued"
    assert job.status() == "queued"


def test_many_threads(store_url: str) -> None:
    """Any number may call at once, and each gets its own job."""
    queue = with_tasks(new_queue(store_url))

    def enqueue(n: int) -> set[str]:
        return {queue.sync.enqueue("double", n).id for _ in range(20)}

    with ThreadPoolExecutor(16) as pool:
        ids = set[str]().union(*pool.map(enqueue, range(16)))
    assert len(ids) == 320
    assert {queue.sync.job(one).status() for one in ids} == {"queued"}
    ours = [one for one in threading.enumerate() if one.name == "aiostreamq:sync"]
    assert len(ours) == 1


def test_closed_and_used_again(store_url: str) -> None:
    """A close ends the waits of other threads; the next use opens again."""
    queue = with_tasks(new_queue(store_url))
    job = queue.sync.enqueue("double", 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.result)
        with pytest.raises(WaitTimeout):
            job.result(timeout=0.05)
        queue.sync.close()
        with pytest.raises(QueueUnavailable):
            waiting.result(PATIENCE)
    with pytest.raises(QueueUnavailable, match="was closed"):
        job.status()
    assert queue.sync.enqueue("double", 2).status() == "queued"
    assert job.status() == "queued"


@pytest.mark.may_block("a call of the door in a running loop blocks it, which is the question")
async def test_in_a_running_loop(store_url: str) -> None:
    """In the loop that has the queue open it is refused. In others, as of notebooks, it works."""
    queue = with_tasks(new_queue(store_url))
    job = queue.sync.enqueue("double", 1)
    assert job.status() == "queued"
    async with queue:
        for call in (
            lambda: queue.sync.enqueue("double", 1),
            lambda: queue.sync.enqueue_many([queue.tasks["double"].bind(1)]),
            lambda: queue.sync.gather([job]),
            job.status,
            job.result,
            job.cancel,
            job.info,
        ):
            with pytest.raises(UsageError, match=r"await queue\.enqueue"):
                call()
    assert job.status() == "queued"


async def test_tasks_in_threads(store_url: str) -> None:
    """They use the session of their worker, lend slots while they wait, and hand on deadlines."""
    queue = new_queue(store_url)
    opened: list[object] = []

    @queue.task
    def child(context: Context, n: int) -> list[object]:
        return [n, context.deadline is not None]

    @queue.task
    def parent(context: Context, n: int) -> list[object]:
        jobs = [context.queue.sync.enqueue("child", i) for i in range(n)]
        jobs += queue.sync.enqueue_many([child.bind(n)])
        opened.extend(thread for thread in threading.enumerate() if "sync" in thread.name)
        return queue.sync.gather([*jobs, queue.sync.enqueue(child.using(id=f"c{n}"), -1)])

    before = [thread for thread in threading.enumerate() if "sync" in thread.name]
    async with queue, Worker(queue, concurrency=2):
        jobs = [await parent.using(deadline="1h").enqueue(n) for n in range(5)]
        found = await gather(jobs, timeout=PATIENCE)
    assert found == [[[i, True] for i in (*range(n + 1), -1)] for n in range(5)]
    assert set(opened) <= set(before), "no loop in the background is needed"


def by_anyio(function: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Any:
    """Run a coroutine function in the loop of the thread, as anyio does it."""
    return from_thread.run(function, *args)


def by_asgiref(function: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Any:
    """Do the same as Django does it."""
    return async_to_sync(function)(*args)


@pytest.mark.parametrize("run", [by_anyio, by_asgiref])
async def test_bridges_in_tasks(store_url: str, run: Callable[..., Any]) -> None:
    """The bridges find the loop of the worker from a task's thread, and lend its slot."""
    queue = new_queue(store_url)

    @queue.task
    def child(n: int) -> int:
        return n

    @queue.task
    def parent(n: int) -> int:
        job: Job[int] = run(child.enqueue, n)
        result: int = run(job.result)
        return result

    async with queue, Worker(queue, concurrency=1):
        jobs = [await parent.enqueue(n) for n in range(3)]
        assert await gather(jobs, timeout=PATIENCE) == [0, 1, 2]


async def test_jobs_of_two_doors(store_url: str) -> None:
    """The handle of a job goes from one to the other: from a task's thread to the program's."""
    queue = new_queue(store_url)
    handles: list[BlockingJob[int]] = []

    @queue.task
    async def same(n: int) -> int:
        return n

    @queue.task
    def parent() -> int:
        handles.append(queue.sync.enqueue(same, 7))
        return handles[0].result(timeout=PATIENCE)

    async with queue, Worker(queue):
        assert await (await parent.enqueue()) == 7
        assert await asyncio.to_thread(handles[0].result) == 7


async def test_worker_that_ends(store_url: str) -> None:
    """A thread that waits in it is not left behind."""
    queue = new_queue(store_url)
    ended: list[BaseException] = []

    @queue.task
    def wait() -> None:
        job = queue.sync.enqueue("unknown")
        try:
            job.result()
        except BaseException as error:
            ended.append(error)
            raise

    def run() -> None:
        async def work() -> None:
            async with queue:
                worker = Worker(queue, shutdown_timeout=0.1)
                async with worker:
                    await wait.enqueue()
                    await wait_until(lambda: queue_waits(queue), "the task to wait")

        asyncio.run(work())

    await asyncio.to_thread(run)
    await wait_until(lambda: ended, "the thread to end")
    assert isinstance(ended[0], QueueUnavailable)


async def queue_waits(queue: Queue) -> bool:
    """Say whether the job that no worker knows is there."""
    return bool([job async for job in queue.jobs(task="unknown")])


@pytest.mark.parametrize("code", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_errors_of_user_code(store_url: str, code: type[BaseException]) -> None:
    """The caller gets the error of an argument that is encoded, and the loop continues."""

    class Hostile:
        def __init__(self) -> None:
            self.a = 1

        def __iter__(self) -> Iterator[int]:
            raise code

    queue = with_tasks(new_queue(store_url))
    with pytest.raises((PayloadError, code)):
        queue.sync.enqueue("double", Hostile())

    def calls() -> Iterator[Any]:
        yield queue.tasks["double"].bind(1)
        raise code

    with pytest.raises(code):
        queue.sync.enqueue_many(calls())
    assert queue.sync.enqueue("double", 1).status() == "queued"


def test_redis_is_away() -> None:
    """The error is that of the loop, after the time of the queue."""
    queue = new_queue("redis://127.0.0.1:1", enqueue_timeout=0.2)
    with pytest.raises(QueueUnavailable, match="could not be reached"):
        queue.sync.enqueue("double", 1)


async def test_forks(own_redis_server: RedisServer) -> None:
    """Children make a loop and connections of their own, and leave the parent's alone."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.sync_app", url, "fork") as program:
        assert await program.wait_end() == 0, program.printed
        used = [f"used {n} queued" for n in (0, 1, 10, 2, 20, 3, 4)]
        assert program.lines == [*used, "child 0", "used 5 queued"]


async def test_end_of_the_program(own_redis_server: RedisServer) -> None:
    """A job that was accepted is in Redis, however the threads are ended."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.sync_app", url, "end") as program:
        assert await program.wait_end() == 0, program.printed
        accepted = [line.split()[1] for line in program.lines if line.startswith("accepted ")]
    async with Queue(url) as queue:
        waiting = {job.id async for job in queue.jobs(state="queued")}
    assert len(accepted) >= 36
    assert set(accepted) <= waiting
    assert "Error" not in program.printed


async def test_interrupted(own_redis_server: RedisServer) -> None:
    """A Ctrl-C ends a wait, and the queue can be used after it."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.sync_app", url, "interrupt") as program:
        assert await program.wait_end() == 0, program.printed
        assert program.lines == ["interrupted", "used 2 queued"]


@pytest.mark.parametrize(
    ("scene", "lines"),
    [
        ("reenter", ["used 1 queued", "used 2 queued"]),
        ("interrupt anywhere", ["used 1 queued", "used 2 queued"]),
        ("fork while connecting", ["child 0", "used 1 queued", "used 10 queued"]),
    ],
)
async def test_interrupted_at_bad_moments(
    own_redis_server: RedisServer, scene: str, lines: list[str]
) -> None:
    """A signal handler, a Ctrl-C or a fork at any moment leaves a queue that can be used."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.sync_app", url, scene) as program:
        assert await program.wait_end() == 0, program.printed
        assert sorted(program.lines) == lines


@pytest.mark.skipif(not importlib.util.find_spec("gevent"), reason="gevent is not installed")
async def test_patched_by_gevent(own_redis_server: RedisServer) -> None:
    """Threads that are none are refused, with what to do."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.sync_app", url, "patched") as program:
        assert await program.wait_end() == 0, program.printed
        assert "gevent has replaced them" in program.printed
