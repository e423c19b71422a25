"""Lanes of bounded length, through the public face."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aiostreamq import Call, Job, Queue, QueueFull, QueueUnavailable, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.enqueue import ENQUEUE_LIMIT
from aiostreamq.store.results import Results
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


async def same(n: int) -> int:
    """What the jobs do."""
    return n


@pytest.fixture
async def strict(store_url: str) -> AsyncIterator[Queue]:
    """A queue whose lanes hold ten jobs, and that raises when they do."""
    async with Queue(store_url, lanes=["default", "slow"], max_length=10) as queue:
        yield queue


@pytest.fixture
async def patient(store_url: str) -> AsyncIterator[Queue]:
    """A queue whose lanes hold ten jobs, and that waits when they do."""
    lanes = ["default", "slow"]
    async with Queue(store_url, lanes=lanes, max_length=10, when_full="wait") as queue:
        yield queue


async def test_full(strict: Queue) -> None:
    """The call that finds no room is told, with the facts; when there is room it passes."""
    task = strict.task(same)
    for n in range(10):
        await task.using(id=f"j{n}").enqueue(n)
    with pytest.raises(QueueFull, match=r"lane 'default' .*full \(max_length=10\)") as told:
        await task.enqueue(10)
    assert (told.value.lane, told.value.max_length, told.value.enqueued) == ("default", 10, 0)
    assert (await task.using(id="j3").enqueue(3)).id == "j3"
    await task.using(lane="slow").enqueue(0)
    await Worker(strict).run(burst=True)
    await task.enqueue(10)


async def test_full_for_some_of_many_callers(strict: Queue) -> None:
    """The first go in, and each is told about its own job."""
    task = strict.task(same)
    told = await asyncio.gather(*(task.enqueue(n) for n in range(25)), return_exceptions=True)
    assert all(isinstance(one, Job) for one in told[:10])
    assert all(isinstance(one, QueueFull) for one in told[10:])
    async with Worker(strict):
        assert [await one for one in told if isinstance(one, Job)] == list(range(10))


@pytest.mark.parametrize("room", [3, ENQUEUE_LIMIT + 3])
async def test_bulk_finds_room_for_some(store_url: str, room: int) -> None:
    """The error says how many went in: those are the first ones."""
    ran: list[int] = []
    async with Queue(store_url, max_length=room) as queue:

        @queue.task
        async def note(n: int) -> None:
            ran.append(n)

        with pytest.raises(QueueFull) as told:
            await queue.enqueue_many(note.bind(n) for n in range(3 * ENQUEUE_LIMIT))
        assert told.value.enqueued == room
        await Worker(queue).run(burst=True)
    assert ran == list(range(room))


async def test_jobs_for_later_are_not_counted(strict: Queue) -> None:
    """They are in no lane yet, and when they are due they are not refused."""
    task = strict.task(same)
    later = [await task.using(delay="10ms").enqueue(n) for n in range(15)]
    for n in range(9):
        await task.enqueue(n)
    async with Worker(strict):
        assert await asyncio.gather(*later) == list(range(15))


async def test_waits_for_room(patient: Queue) -> None:
    """Calls go in as room comes, in their order, from one by one and in bulk."""
    ran: list[int] = []

    @patient.task
    async def note(n: int) -> int:
        ran.append(n)
        return n

    calling = [asyncio.ensure_future(note.enqueue(n)) for n in range(20)]
    bulk = asyncio.ensure_future(patient.enqueue_many(note.bind(n) for n in range(20, 40)))
    await wait_until(lambda: sum(one.done() for one in calling) == 10, "ten to go in")
    assert not bulk.done()
    other = await note.using(lane="slow").enqueue(-1)
    async with Worker(patient, concurrency=1):
        jobs = [await one for one in calling] + await bulk
        assert [await job for job in jobs] == list(range(40))
        assert await other == -1
    assert [n for n in ran if n >= 0] == list(range(40))


async def test_many_producers(store_url: str) -> None:
    """Together they never have more in a lane than it may hold, and all get through."""
    most = 0
    async with Queue(store_url) as looking:
        queues = [Queue(store_url, max_length=5, when_full="wait") for _ in range(4)]
        broker = core_of(looking).session().store

        async def look(n: int) -> int:
            nonlocal most
            found = await broker.call("XLEN", broker.keys.stream("default"))
            assert isinstance(found, int)
            most = max(most, found)
            return n

        looking.task(name="same")(look)
        async with Worker(looking, concurrency=2):
            tasks = [queue.task(same) for queue in queues]
            jobs = await asyncio.gather(*(task.enqueue(n) for task in tasks for n in range(10)))
            assert sorted(await asyncio.gather(*jobs)) == sorted([*range(10)] * 4)
        for queue in queues:
            await queue.aclose()
    assert 0 < most <= 5


@pytest.mark.parametrize("bulk", [False, True])
async def test_cancelled_while_it_waits(patient: Queue, bulk: bool) -> None:
    """What has not gone in never does."""
    task = patient.task(same)
    await patient.enqueue_many(task.bind(n) for n in range(10))
    calls = [task.using(id=f"late-{n}").bind(n) for n in range(3 * ENQUEUE_LIMIT if bulk else 1)]
    waiting = asyncio.ensure_future(
        patient.enqueue_many(calls) if bulk else task.using(id="late-0").enqueue(0)
    )
    broker = core_of(patient).session().store
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await Worker(patient).run(burst=True)
    assert await Results(broker).job_state("late-0") is None
    assert await (await task.enqueue(1)).status()


async def test_closed_while_it_waits(store_url: str) -> None:
    """The call is given up, and says that its job was not enqueued."""
    queue = Queue(store_url, max_length=1, when_full="wait")
    task = queue.task(same)
    await task.enqueue(0)
    waiting = asyncio.ensure_future(task.using(id="late").enqueue(1))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await queue.aclose()
    with pytest.raises(QueueUnavailable, match="it was not enqueued"):
        await waiting
    async with queue:
        assert await Results(core_of(queue).session().store).job_state("late") is None


async def test_bulk_with_a_bad_one(strict: Queue) -> None:
    """What comes first is told first."""

    @strict.task
    async def take(value: int | list[object]) -> None: ...

    calls: list[Call[None]] = [*(take.bind(n) for n in range(11)), take.bind([object()])]
    with pytest.raises(QueueFull):
        await strict.enqueue_many(calls)


async def test_jobs_that_wait_together_fail_together(own_redis_server: RedisServer) -> None:
    """While Redis is away, those behind the first command do not wait for its time-out again."""
    queue = Queue(own_redis_server.url, max_length=10_000, when_full="wait", enqueue_timeout=0.2)
    task = queue.task(same)
    async with queue:
        await task.enqueue(0)
        own_redis_server.pause()
        try:
            calls = [asyncio.ensure_future(task.enqueue(n)) for n in range(10 * ENQUEUE_LIMIT)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for _ in range(10):
                await asyncio.sleep(0)
            assert all(call.done() for call in calls)
        finally:
            own_redis_server.resume()
        for call in calls:
            with pytest.raises(QueueUnavailable):
                await call
