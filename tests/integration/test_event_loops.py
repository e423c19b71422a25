"""A queue and its event loops: it belongs to one at a time, and outlives them all."""

import asyncio
import gc
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from redis import Redis

from aiostreamq import Job, JobNotFound, Queue, Worker
from tests.support.processes import Program
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

# To close a loop and nothing in it, as some of these do, is a fault of the program.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def same(n: int) -> int:
    """What the jobs do."""
    return n


def run_and_close(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Run in a loop that is closed without more ado."""

    def run(main: Coroutine[Any, Any, object]) -> object:
        loop = new_loop()
        try:
            return loop.run_until_complete(main)
        finally:
            loop.close()

    return run


def run_and_leave(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Run in a loop that rests from then on."""

    def run(main: Coroutine[Any, Any, object]) -> object:
        loop = new_loop()
        LEFT.append(loop)
        return loop.run_until_complete(main)

    return run


#: Loops that rest.
LEFT: list[asyncio.AbstractEventLoop] = []

#: Ways to run one thing, and no more, in an event loop.
RUNS: dict[str, Run] = {
    "asyncio.run": asyncio.run,
    "uvloop.run": uvloop.run,
    "asyncio closed": run_and_close(asyncio.new_event_loop),
    "uvloop closed": run_and_close(uvloop.new_event_loop),
    "asyncio left": run_and_leave(asyncio.new_event_loop),
    "uvloop left": run_and_leave(uvloop.new_event_loop),
}


@pytest.fixture(autouse=True)
def left_loops() -> Iterator[None]:
    """Let loops that were left continue to their ends."""
    yield
    while LEFT:
        loop = LEFT.pop()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    gc.collect()


@pytest.mark.parametrize("how", RUNS)
def test_each_use_in_a_loop_of_its_own(store_url: str, how: str) -> None:
    """Whatever is done first with a queue, the loop before has no part in it; no job is lost."""
    run = RUNS[how]
    queue = Queue(store_url)
    task = queue.task(same)
    jobs: list[Job[Any]] = [run(task.enqueue(0)), run(queue.enqueue(task, 1))]
    jobs += run(queue.enqueue_many([task.bind(2), task.bind(3)]))
    jobs.append(run(task.using(delay=0.01).enqueue(4)))
    jobs.append(run(queue.enqueue("same", 5)))
    assert run(queue.job(jobs[0].id).status()) == "queued"
    assert run(jobs[1].status()) == "queued"
    assert run(jobs[2].info()).task == "same"
    assert run(queue.info()).lanes
    listed = queue.jobs(state="queued")

    async def read() -> int:
        return len([job async for job in listed])

    assert run(read()) == 5
    assert run(queue.dead_letters.count()) == 0
    assert run(queue.paused()) == []

    async def work() -> list[int]:
        async with asyncio.timeout(PATIENCE), Worker(queue):
            return [await job for job in jobs]

    assert run(work()) == list(range(6))
    assert run(jobs[3].result()) == 3, "it is known"
    assert run(queue.job(jobs[3].id).result()) == 3
    with pytest.raises(JobNotFound):
        run(queue.job("unknown").result())
    run(queue.open())
    run(queue.aclose())
    run(queue.aclose())

    async def block() -> str:
        async with queue:
            return await queue.job(jobs[0].id).status()

    assert [run(block()) for _ in range(2)] == ["done"] * 2


def test_jobs_stay_in_memory() -> None:
    """A nameless memory:// is not emptied by the end of a loop, but by a close."""
    queue = Queue("memory://")
    task = queue.task(same)
    job = asyncio.run(task.enqueue(1))
    assert asyncio.run(job.status()) == "queued"

    async def close() -> None:
        await job.status()
        await queue.aclose()
        with pytest.raises(JobNotFound):
            await queue.job(job.id).status()

    asyncio.run(close())


def test_place_is_changed_between_loops() -> None:
    """What `use_url` says holds from the next loop on."""
    queue = Queue("redis://127.0.0.1:1", enqueue_timeout=1)
    task = queue.task(same)
    with pytest.raises(Exception, match="Redis could not be reached"):
        asyncio.run(task.enqueue(1))
    queue.use_url("memory://")
    assert asyncio.run(task.enqueue(1)).id
    queue.use_url("memory://")
    job = asyncio.run(task.enqueue(2))
    assert sum(lane.waiting for lane in asyncio.run(queue.info()).lanes) == 1
    assert asyncio.run(job.status()) == "queued"


def rest(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop that was left continue until all that was under way in it has ended."""

    async def join() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, pending = await asyncio.wait(others, timeout=PATIENCE)
            assert not pending, pending

    loop.run_until_complete(join())


def connections(admin: "Redis") -> list[str]:
    """The names of all connections of ours."""
    told: list[dict[str, str]] = admin.client_list()
    return [one["name"] for one in told if one["name"].startswith("aiostreamq")]


def inboxes(admin: "Redis") -> set[str]:
    """The ids of the connections that wait for results."""
    listed: list[dict[str, str]] = admin.client_list()
    return {one["id"] for one in listed if one["cmd"] == "blpop"}


def wait_for_connections(admin: "Redis", most: int) -> None:
    """Wait until Redis has noticed what was closed."""
    deadline = time.monotonic() + PATIENCE
    while len(connections(admin)) > most:
        assert time.monotonic() < deadline, connections(admin)


@pytest.mark.parametrize("how", RUNS)
def test_nothing_stays_connected(own_redis_server: RedisServer, how: str) -> None:
    """Connections of a dead loop are closed: by its end if that is proper, or else by the next."""
    run = RUNS[how]
    queue = Queue(own_redis_server.url)
    task = queue.task(same)

    async def use() -> None:
        before = await asyncio.to_thread(inboxes, admin)

        async def is_listening() -> bool:
            return bool(await asyncio.to_thread(inboxes, admin) - before)

        job = await task.enqueue(1)
        waiting = asyncio.ensure_future(job.result())
        # A connection that is just being opened when its loop stops is closed when it is collected.
        await wait_until(is_listening, "the inbox to be read")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        asyncio.ensure_future(task.enqueue(2))  # noqa: RUF006  # left behind on its way

    with Redis.from_url(own_redis_server.url, decode_responses=True) as admin:
        for _ in range(3):
            run(use())
            # A loop that rests closes its own when it continues.
            wait_for_connections(admin, 2 * len(LEFT) or (0 if "run" in how else 2))
        run(task.enqueue(3))
        while len(LEFT) > 1:
            loop = LEFT.pop(0)
            rest(loop)
            loop.close()
        run(queue.aclose())
        while LEFT:
            loop = LEFT.pop(0)
            rest(loop)
            loop.close()
        wait_for_connections(admin, 0)


def test_loop_ends_properly(redis_url: str) -> None:
    """A program that closes nothing is warned of nothing: the queue ends with its loop."""
    queue = Queue(redis_url)
    task = queue.task(same)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for run in (asyncio.run, uvloop.run):
            run(task.enqueue(1))
            gc.collect()
    assert [str(one.message) for one in told if "unclosed" in str(one.message)] == []


async def test_forgotten_queue(own_redis_server: RedisServer) -> None:
    """A queue that nobody has any more closes its connections."""
    for _ in range(3):
        queue = Queue(own_redis_server.url)
        await queue.enqueue("same", 1)
        del queue
    with Redis.from_url(own_redis_server.url, decode_responses=True) as admin:
        for _ in range(10):
            gc.collect()
            await asyncio.sleep(0)
        await asyncio.to_thread(wait_for_connections, admin, 0)


def test_waiting_in_a_loop_that_rests(redis_url: str) -> None:
    """Who still waits there is told when the loop continues, and does not hang."""
    queue = Queue(redis_url)
    task = queue.task(same)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def begin() -> "asyncio.Task[int]":
        job = await task.enqueue(1)
        waiting = asyncio.ensure_future(job.result())
        await asyncio.wait([waiting], timeout=0.01)
        return waiting

    async def end(waiting: "asyncio.Task[int]") -> None:
        with pytest.raises(Exception, match="was closed"):
            await asyncio.wait_for(waiting, PATIENCE)

    waiting = first.run_until_complete(begin())
    second.run_until_complete(task.enqueue(2))
    first.run_until_complete(end(waiting))
    assert sum(lane.waiting for lane in second.run_until_complete(queue.info()).lanes) == 2
    second.run_until_complete(queue.aclose())
    for loop in (first, second):
        loop.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_forks(own_redis_server: RedisServer, loop: str) -> None:
    """Children use the queue in loops of their own, and the parent's connections continue."""
    url = own_redis_server.url
    async with Program("-m", "tests.integration.forking_app", url, loop) as program:
        assert await program.wait_end() == 0
        told = [line for line in program.lines if not line.startswith(("Redis keeps", "no task"))]
    assert told == [
        *("parent 1", "child 2", "child 3", "child 4", "parent 5"),
        *("commands 1", "inbox 1", "opened 1"),
        *("preloaded", "end"),
    ]
