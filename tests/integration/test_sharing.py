"""Who has a queue open: each `open` counts, the last `aclose` closes, and a worker keeps it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from aiostreamq import BrokerError, Queue, QueueUnavailable, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.queue import QueueStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until


async def same(n: int) -> int:
    """What the jobs do."""
    return n


class Scene:
    """A queue, and those who use it."""

    def __init__(self, url: str) -> None:
        self.queue = Queue(url)
        self.task = self.queue.task(same)
        self.blocks: list[AsyncExitStack] = []
        self.workers: list[AsyncExitStack] = []

    async def act(self, step: str) -> None:
        """Do what a step says."""
        match step:
            case "use":
                await self.task.enqueue(1)
            case "open":
                await self.queue.open()
            case "close":
                await self.queue.aclose()
            case "enter":
                self.blocks.append(await self._entered(self.queue))
            case "exit":
                await self.blocks.pop().aclose()
            case "work":
                self.workers.append(await self._entered(Worker(self.queue)))
            case "stop":
                await self.workers.pop().aclose()
            case "end":  # of the program
                await core_of(self.queue).sessions.close_for_all()
            case _:
                raise AssertionError(step)

    async def _entered(self, one: Queue | Worker) -> AsyncExitStack:
        stack = AsyncExitStack()
        await stack.enter_async_context(one)
        return stack


#: What is done to a queue, and whether it is open then.
STEPS = {
    "use": True,
    "use close": False,
    "use close close": False,
    "use open close": True,
    "use open close close": False,
    "use enter exit": True,
    "open": True,
    "open close": False,
    "open use close": False,
    "open close close": False,
    "open open close": True,
    "open open close close": False,
    "enter exit": False,
    "enter enter exit": True,
    "enter enter exit exit": False,
    "enter close": False,
    "enter close exit": False,
    "enter open exit": True,
    "work": True,
    "work stop": True,
    "work stop close": False,
    "work close": True,
    "work close close enter exit": True,
    "work close stop": False,
    "work enter exit": True,
    "work enter exit stop": True,
    "work work close stop": True,
    "work work close stop stop": False,
    "enter work exit": True,
    "enter work exit stop": False,
    "enter work stop": True,
    "enter work stop exit": False,
    "enter work enter exit exit": True,
    "open open end": False,
    "use open end": False,
    "open work end stop": False,
    "open end end": False,
}


@pytest.mark.parametrize("steps", STEPS)
async def test_users_are_counted(store_url: str, steps: str) -> None:
    """The queue is open while anybody uses it, and not longer; it works in either case."""
    scene = Scene(store_url)
    first, *others = steps.split()
    await scene.act(first)
    session = core_of(scene.queue).session()
    for step in others:
        await scene.act(step)
    assert (core_of(scene.queue).session() is session) is STEPS[steps]
    assert await (await scene.task.enqueue(7)).status() in {"queued", "running", "done"}
    while scene.workers:
        await scene.act("stop")
    for _ in range(3):
        await scene.queue.aclose()


async def test_nothing_stays_connected(redis_url: str, client: Redis) -> None:
    """With the last user all connections have gone, those of the inbox and of events too."""
    queue = Queue(redis_url)

    @queue.task
    async def say(count: int) -> AsyncIterator[int]:
        for n in range(count):
            yield n

    async def names() -> list[str]:
        told = await client.client_list()
        return [one["name"] for one in told if one["name"].startswith("aiostreamq")]

    async def is_gone() -> bool:
        return not await names()

    async with queue, Worker(queue):
        async with queue:
            job = await say.enqueue(3)
            assert [chunk async for chunk in job] == [0, 1, 2]
        assert {"aiostreamq:commands", "aiostreamq:inbox"} <= set(await names())
    await wait_until(is_gone, "the connections to be closed")


@pytest.mark.parametrize("way", ["async with", "aclose", "open twice"])
async def test_closed_by_a_task(store_url: str, way: str) -> None:
    """A task that opens and closes the queue of its worker closes it under nobody."""
    queue = Queue(store_url)
    child = queue.task(same)

    @queue.task
    async def parent(n: int) -> str:
        match way:
            case "async with":
                async with queue:
                    job = await child.enqueue(n)
            case "aclose":
                job = await child.enqueue(n)
                await queue.aclose()
            case _:
                await asyncio.gather(queue.open(), queue.open())
                job = await child.enqueue(n)
                await queue.aclose()
        return job.id

    async with Worker(queue) as worker:
        async with asyncio.timeout(PATIENCE):
            parents = [await parent.enqueue(n) for n in range(4)]
            ids = [await job for job in parents]
            assert [await queue.job(one) for one in ids] == [0, 1, 2, 3]
        assert worker.is_ready
    for _ in range(6):
        await queue.aclose()


@pytest.mark.parametrize("opened", ["by the app", "by nobody else"])
async def test_many_handlers(store_url: str, opened: str) -> None:
    """Hundreds that open and close the queue at the same time do not see each other."""
    async with Queue(store_url) as keeper, AsyncExitStack() as app:
        queue = Queue(store_url)
        task = queue.task(same)
        keeper.task(same)
        if opened == "by the app":
            await app.enter_async_context(queue)

        async def handle(n: int) -> int:
            for _ in range(n % 7):
                await asyncio.sleep(0)
            async with queue:
                job = await task.enqueue(n)
                return await job.result(timeout=PATIENCE)

        async with Worker(keeper):
            told = await asyncio.gather(*map(handle, range(200)), return_exceptions=True)
            more = await asyncio.gather(*map(handle, range(200)), return_exceptions=True)
    assert told == more == list(range(200))


async def test_closed_while_others_enqueue(store_url: str) -> None:
    """What is under way when the last one closes is sent."""
    async with Queue(store_url) as keeper:
        queue = Queue(store_url)
        task = queue.task(same)
        await queue.open()
        under_way = [asyncio.ensure_future(task.enqueue(n)) for n in range(300)]
        await asyncio.sleep(0)
        await queue.aclose()
        jobs = await asyncio.gather(*under_way)
        assert len({job.id for job in jobs}) == 300
        found = [job.id async for job in keeper.jobs(state="queued")]
        assert sorted(found) == sorted(job.id for job in jobs)


async def test_opened_while_it_closes(own_redis_server: RedisServer) -> None:
    """Who comes while the last one closes gets a session that nobody closes."""
    queue = Queue(own_redis_server.url)
    task = queue.task(same)
    await queue.open()
    old = core_of(queue).session()
    own_redis_server.ask("CLIENT", "PAUSE", "60000", "WRITE")
    under_way = asyncio.ensure_future(task.enqueue(1))
    await asyncio.sleep(0)
    closing = [asyncio.ensure_future(queue.aclose()) for _ in range(2)]
    done, _ = await asyncio.wait(closing, timeout=0.1)
    assert not done, "both wait for what is under way"
    entering = asyncio.ensure_future(queue.__aenter__())
    own_redis_server.ask("CLIENT", "UNPAUSE")
    await asyncio.gather(*closing)
    await under_way
    await entering
    assert core_of(queue).session() is not old
    assert await (await task.enqueue(2)).status() == "queued"
    await queue.aclose()


FAILURES: dict[str, Callable[[Queue], Coroutine[Any, Any, object]]] = {
    "open": lambda queue: queue.open(),
    "async with": lambda queue: queue.__aenter__(),
    "worker": lambda queue: Worker(queue).run(),
}


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("ends", ["refused", "cancelled"])
async def test_failed_to_open(
    own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, how: str, ends: str
) -> None:
    """Who fails to open does not count, and does not close under the others."""
    soon = 0.05 if ends == "refused" else PATIENCE
    monkeypatch.setattr(QueueStore.open, "__defaults__", (soon,))
    own_redis_server.stop()
    queue = Queue(own_redis_server.url, enqueue_timeout=PATIENCE)
    task = queue.task(same)
    monkeypatch.setattr("aiostreamq.store.queue.OPEN_TIMEOUT", PATIENCE)
    using = asyncio.ensure_future(task.enqueue(1))  # goes on trying
    await asyncio.sleep(0)
    session = core_of(queue).session()
    if ends == "refused":
        with pytest.raises(BrokerError):
            await FAILURES[how](queue)
    else:
        with anyio.move_on_after(0.01) as scope:
            await FAILURES[how](queue)
        assert scope.cancelled_caught
    assert core_of(queue).session() is session
    own_redis_server.start()
    job = await asyncio.wait_for(using, PATIENCE)
    assert await job.status() == "queued"
    await queue.aclose()
    assert core_of(queue).session() is not session
    await queue.aclose()


async def test_job_of_a_closed_queue(store_url: str) -> None:
    """Its handle says so, until the queue is open again."""
    async with Queue(store_url) as keeper:
        keeper.task(same)
        queue = Queue(store_url)
        task = queue.task(same)
        async with queue:
            job = await task.enqueue(3)
        for ask in (job.status, job.result, job.info, job.cancel):
            with pytest.raises(QueueUnavailable, match="was closed: open it again"):
                await ask()
        async with queue, Worker(keeper):
            assert await job.result(timeout=PATIENCE) == 3
            assert await job.status() == "done"
        assert await job == 3, "its outcome is known here"
        assert await queue.job(job.id).result() == 3, "to ask by the id is a use"
        await queue.aclose()


async def test_in_threads(store_url: str) -> None:
    """In the event loop of another thread each call says what to do instead; and that works."""
    queue = Queue(store_url)
    task = queue.task(same)
    loop = asyncio.get_running_loop()
    async with queue, Worker(queue):
        job = await task.enqueue(1)
        assert await job.status()
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "task.enqueue": lambda: task.enqueue(1),
            "using": lambda: task.using(delay=1).enqueue(1),
            "queue.enqueue": lambda: queue.enqueue("same", 1),
            "enqueue_many": lambda: queue.enqueue_many([task.bind(1)]),
            "open": queue.open,
            "aclose": queue.aclose,
            "async with": queue.__aenter__,
            "worker": lambda: Worker(queue).run(),
            "info": queue.info,
            "status": job.status,
            "result": job.result,
            "by id": queue.job(job.id).status,
        }

        def use_elsewhere() -> None:
            for call in calls.values():
                with pytest.raises(UsageError, match="another event loop, which is running"):
                    asyncio.run(call())
            far = asyncio.run_coroutine_threadsafe(task.enqueue(2), loop).result(PATIENCE)
            assert asyncio.run_coroutine_threadsafe(far.result(), loop).result(PATIENCE) == 2

        await asyncio.to_thread(use_elsewhere)
        assert await job.result(timeout=PATIENCE) == 1


async def test_two_threads_come_first(store_url: str) -> None:
    """Of two event loops that use a new queue at the same moment, one is refused or comes later."""
    for _ in range(10):
        queue = Queue(store_url)
        task = queue.task(same)

        def use() -> str:
            try:
                return asyncio.run(task.enqueue(1)).id  # noqa: B023  # runs within this turn
            except UsageError as error:
                return str(error)

        told = await asyncio.gather(*(asyncio.to_thread(use) for _ in range(2)))
        refused = ["another event loop" in one for one in told]
        assert refused.count(True) <= 1
