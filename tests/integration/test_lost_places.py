"""Awaiting jobs whose place in Redis is gone: deleted, or evicted."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiostreamq import Context, Job, JobNotFound, JobState, Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.client.results import inbox, missing_streams
from aiostreamq.store.queue import QueueStore
from tests.support.waiting import wait_until

#: Seconds in which a client looks several times for what it takes for lost after half of one.
LONG = 2


@pytest.fixture(autouse=True)
def quick_looks(no_second_looks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client look again several times a second, and take jobs for lost soon."""
    monkeypatch.setattr(inbox, "BLOCK", 0.2)
    monkeypatch.setattr(inbox, "SWEEP", 0.1)
    monkeypatch.setattr(missing_streams, "LONG_ENOUGH", 0.5)


def store_of(queue: Queue) -> QueueStore:
    """The store of an open queue."""
    return core_of(queue).session().store


async def queued(queue: Queue) -> tuple[Job[object], str]:
    """A job in a lane, and the key that it waits in."""

    @queue.task
    async def waits() -> None: ...

    return await waits.enqueue(), store_of(queue).keys.stream("default")


async def delayed(queue: Queue) -> tuple[Job[object], str]:
    """A job for later."""

    @queue.task
    async def waits() -> None: ...

    return await waits.using(delay=3600).enqueue(), store_of(queue).keys.delayed


async def parked(queue: Queue) -> tuple[Job[object], str]:
    """A job of a task that its worker does not know."""
    async with Worker(queue):
        job = await queue.enqueue("unknown.task")

        async def is_parked() -> bool:
            return await job.status() is JobState.PARKED

        await wait_until(is_parked, "the job to be parked")
    return job, store_of(queue).keys.parked_for("unknown.task")


Put = Callable[[Queue], Awaitable[tuple[Job[object], str]]]


@pytest.mark.parametrize("put", [queued, delayed, parked])
async def test_lost(queue: Queue, put: Put) -> None:
    """The wait ends with an error that says what has happened and what to do."""
    job, key = await put(queue)
    waiting = asyncio.ensure_future(job.result())
    await asyncio.wait([waiting], timeout=0.05)
    await store_of(queue).call("DEL", key)
    with pytest.raises(JobNotFound, match=r"is lost: .* deleted or evicted: enqueue it again"):
        await waiting


@pytest.mark.parametrize("put", [queued, delayed, parked])
async def test_not_lost(queue: Queue, put: Put) -> None:
    """A job that is in its place is awaited for as long as it takes."""
    job, _ = await put(queue)
    waiting = asyncio.ensure_future(job.result())
    done, _ = await asyncio.wait([waiting], timeout=LONG)
    assert not done
    waiting.cancel()


async def test_stream_is_new(queue: Queue) -> None:
    """Jobs that were enqueued after the stream was deleted are not lost with it."""

    @queue.task
    async def work(number: int) -> int:
        return number

    lost = await work.enqueue(1)
    await store_of(queue).call("DEL", store_of(queue).keys.stream("default"))
    begun_ms = store_of(queue).clock.now_ms()
    # Entries are numbered by milliseconds.
    await wait_until(lambda: store_of(queue).clock.now_ms() > begun_ms + 1, "the next of them")
    job = await work.enqueue(2)
    waiting = asyncio.ensure_future(job.result())
    with pytest.raises(JobNotFound, match="is lost"):
        await lost
    assert not waiting.done()
    async with Worker(queue):
        assert await waiting == 2


async def test_running_job_is_not_lost(queue: Queue) -> None:
    """Its worker has all of it: the wait continues although the stream is gone."""
    started, may_end = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work(context: Context) -> str:
        started.set()
        await may_end.wait()
        return context.job_id

    async with Worker(queue, lease=1):
        job = await work.enqueue()
        waiting = asyncio.ensure_future(job.result())
        await started.wait()
        await store_of(queue).call("DEL", store_of(queue).keys.stream("default"))
        done, _ = await asyncio.wait([waiting], timeout=LONG)
        assert not done
        may_end.set()
        assert await waiting == job.id
