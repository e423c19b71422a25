"""Jobs enqueued by the name of their task, and jobs whose id may be taken."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import Job, JobState, Queue, StreamJob, UsageError, Worker
from tests.support.proxy import Proxy


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue with a task, on a real Redis and in memory."""
    async with Queue(store_url, lanes=["default", "low"]) as queue:

        @queue.task(timeout="1m")
        async def add(a: int, b: int = 0) -> int:
            return a + b

        @queue.task
        async def count(to: int) -> AsyncIterator[int]:
            for n in range(to):
                yield n

        yield queue


async def test_known_elsewhere(queue: Queue, store_url: str) -> None:
    """A producer without the code gives all options; the worker that has it runs the jobs."""
    async with Queue(store_url, lanes=["default", "low"]) as producer:
        add = producer.named("add")
        job = await add.using(id="own", result_ttl="1m", lane="low").enqueue(1, b=2)
        later = await add.using(delay="1h").enqueue(1)
        many = await producer.enqueue_many(add.using(id=f"m{n}").bind(n) for n in range(3))
        assert await later.status() is JobState.DELAYED
        async with Worker(queue):
            assert await job == 3
            assert [await one for one in many] == [0, 1, 2]


async def test_known_here(queue: Queue) -> None:
    """It is the task: its options count, and its arguments are checked."""
    assert queue.named("add") is queue.tasks["add"]
    assert isinstance(await queue.named("count").enqueue(2), StreamJob)
    with pytest.raises(UsageError, match="add"):
        await queue.named("add").using(id="a").enqueue(1, 2, 3)


@pytest.mark.parametrize("delay", [None, "1h"])
async def test_is_new(queue: Queue, delay: str | None) -> None:
    """An enqueue says whether it made the job or met one that has its id."""
    add = queue.tasks["add"].using(delay=delay)
    assert (await add.enqueue(1)).is_new is True
    assert (await add.using(id="a").enqueue(1)).is_new is True
    assert (await add.using(id="a").enqueue(2)).is_new is False
    calls = [add.bind(1), add.using(id="a").bind(1), add.using(id="b").bind(1)]
    assert [job.is_new for job in await queue.enqueue_many(calls)] == [True, False, True]
    assert queue.job("a").is_new is None
    if delay is None:
        await Worker(queue).run(burst=True)
        assert (await add.using(id="a").enqueue(1)).is_new is False  # its result is kept


async def test_is_new_in_a_bounded_queue(store_url: str) -> None:
    """So does one that waits for room, or finds none."""
    for when_full in ("raise", "wait"):
        async with Queue(store_url, max_length=9, when_full=when_full) as queue:
            one = queue.named("add").using(id=when_full)
            assert [(await one.enqueue(1)).is_new for _ in range(2)] == [True, False]
            (many,) = await queue.enqueue_many([one.bind(1)])
            assert many.is_new is False


@pytest.mark.usefixtures("second_looks")
@pytest.mark.parametrize("way", ["enqueue", "later", "enqueue_many"])
async def test_a_reply_is_lost(proxy: Proxy, way: str) -> None:
    """Asked a second time nobody can tell whose job it is, and `is_new` says so."""
    async with Queue(proxy.url) as queue:
        named = queue.named("add").using(id="a", delay="1h" if way == "later" else None)
        await named.using(id="first").enqueue(1)  # the server has the script from now on
        proxy.drop_replies(1, to=b"EVALSHA")
        job: Job[object]
        if way == "enqueue_many":
            (job,) = await queue.enqueue_many([named.bind(1)])
        else:
            job = await named.enqueue(1)
        assert proxy.replies_dropped == 1
        assert job.is_new is None
        assert (await named.enqueue(1)).is_new is False
