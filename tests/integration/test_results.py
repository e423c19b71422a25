"""Awaiting results, from any process and any number of callers."""

import asyncio
import threading

import pytest

from aiostreamq import (
    Job,
    JobError,
    JobNotFound,
    JobState,
    Queue,
    QueueUnavailable,
    ResultNotKept,
    UsageError,
    WaitTimeout,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.client.results import inbox
from aiostreamq.store.queue import QueueStore
from tests.support.store import Store
from tests.support.waiting import PATIENCE, wait_until


async def test_await_often(queue: Queue) -> None:
    """The same job may be awaited again and again, by many at once, by any handle."""

    @queue.task
    async def give() -> list[int]:
        return [1]

    job = await give.enqueue()
    async with Worker(queue):
        assert await asyncio.gather(*(job.result() for _ in range(50))) == [[1]] * 50
        assert await job == [1]
        assert await queue.job(job.id) == [1]


async def test_from_another_client(store_url: str, queue: Queue) -> None:
    """A client that knows the id finds the job, before and after its end."""
    gate = asyncio.Event()

    @queue.task
    async def wait() -> str:
        await gate.wait()
        return "done"

    job = await wait.enqueue()
    async with Queue(store_url) as other, Worker(queue):
        found = other.job(job.id)
        early = asyncio.ensure_future(found.result())
        await wait_until(lambda: is_running(found), "the job to run")
        gate.set()
        assert await early == "done"
        assert await other.job(job.id) == "done"
        assert await found.status() is JobState.DONE


async def is_running(job: Job[object]) -> bool:
    """Say whether a worker has it."""
    return await job.status() is JobState.RUNNING


async def test_first_one_then_another_task(queue: Queue) -> None:
    """Jobs of a task that was awaited before are told of from the start, with the same outcome."""

    @queue.task
    async def same(n: int) -> int:
        return n

    async with Worker(queue):
        for n in range(20):
            assert await (await same.enqueue(n)) == n


async def test_timeout(queue: Queue) -> None:
    """Who stops waiting gets WaitTimeout, and the job continues."""
    gate = asyncio.Event()

    @queue.task
    async def wait() -> int:
        await gate.wait()
        return 1

    job = await wait.enqueue()
    async with Worker(queue):
        for timeout in (0.01, "10ms", 0):
            with pytest.raises(WaitTimeout) as caught:
                await job.result(timeout=timeout)
            assert isinstance(caught.value, TimeoutError)
        gate.set()
        assert await job.result(timeout=PATIENCE) == 1
        assert await job.result(timeout=0.001) == 1


async def test_cancelled_awaiter(queue: Queue) -> None:
    """Only its own wait ends: others get the result, and it may ask again."""
    gate = asyncio.Event()

    @queue.task
    async def wait() -> int:
        await gate.wait()
        return 1

    job = await wait.enqueue()
    gone = asyncio.ensure_future(job.result())
    stays = asyncio.ensure_future(job.result())
    async with Worker(queue):
        await wait_until(lambda: is_running(job), "the job to run")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.set()
        assert await stays == 1
        assert await job == 1


async def test_status(queue: Queue) -> None:
    """It tells where a job stands at each point of its life."""
    gate = asyncio.Event()

    @queue.task
    async def wait() -> None:
        await gate.wait()

    @queue.task
    async def fail() -> None:
        raise ValueError

    job, failing = await wait.enqueue(), await fail.enqueue()
    assert await job.status() is JobState.QUEUED
    async with Worker(queue):
        await wait_until(lambda: is_running(job), "the job to run")
        gate.set()
        await job
        assert await job.status() is JobState.DONE
        await wait_until(lambda: has_failed(failing), "the other to fail")


async def has_failed(job: Job[None]) -> bool:
    """Say whether it has."""
    return await job.status() is JobState.FAILED


async def test_unknown_job(queue: Queue) -> None:
    """It is told after one look: nobody waits for what never was."""
    job = queue.job("never-was")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(JobNotFound) as caught:
            await job
        assert caught.value.job_id == "never-was"
        with pytest.raises(JobNotFound):
            await job.status()


@pytest.mark.parametrize("job_id", ["", "a b", "a\nb"])
async def test_what_is_no_id(queue: Queue, job_id: str) -> None:
    """It is refused before anything is asked."""

    @queue.task
    async def nothing() -> None: ...

    with pytest.raises(UsageError, match="job id"):
        queue.job(job_id)
    with pytest.raises(UsageError, match="job id"):
        nothing.using(id=job_id)


async def test_no_result_from_another_client(store_url: str, queue: Queue) -> None:
    """A client that did not enqueue it is refused too, instead of waiting in vain."""

    @queue.task(result_ttl=0)
    async def silent() -> int:
        return 1

    job = await silent.enqueue()
    async with Queue(store_url) as other, asyncio.timeout(PATIENCE):
        with pytest.raises(ResultNotKept):
            await job
        with pytest.raises(ResultNotKept):
            await other.job(job.id)
        await Worker(queue).run(burst=True)
        with pytest.raises((ResultNotKept, JobNotFound)):
            await other.job(job.id)
        assert await other.job(job.id).status() is JobState.DONE


async def test_expired_result(queue: Queue) -> None:
    """It is told as such at once."""

    @queue.task(result_ttl=0.001)
    async def short() -> int:
        return 1

    job = await short.enqueue()
    await Worker(queue).run(burst=True)

    async def is_gone() -> bool:
        try:
            await queue.job(job.id).result(timeout=PATIENCE)
        except JobNotFound:
            return True
        return False

    await wait_until(is_gone, "the result to expire")


async def test_id_used_again(store_url: str) -> None:
    """Once a job is forgotten its id may be another's, even while somebody holds the first."""
    async with Store(store_url, "default") as store, Queue(store_url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async with Worker(queue):
            first = await same.using(id="x").enqueue(1)
            assert await first == 1
            await store.call("DEL", store.keys.result("x"), store.keys.job("x"))
            second = await same.using(id="x").enqueue(2)
            assert await second == 2
            assert await queue.job("x") == 2


async def test_lost_and_enqueued_again(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis lost a job, who awaits it is told of the one that has its id now."""
    monkeypatch.setattr(inbox, "SWEEP", 0.1)
    monkeypatch.setattr(inbox, "BLOCK", 1)
    async with Store(store_url, "default") as store, Queue(store_url) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async def awaited(n: int) -> "asyncio.Task[int]":
            job = await same.using(id="x").enqueue(n)
            waiting = asyncio.create_task(job.result(timeout=PATIENCE))
            await wait_until(lambda: store.call("HEXISTS", store.keys.job("x"), "w"), "its inbox")
            return waiting

        first = await awaited(1)
        await store.call("FLUSHALL")
        second = await awaited(2)
        async with Worker(queue):
            assert await asyncio.gather(first, second) == [2, 2]


@pytest.mark.may_block("that is the point")
async def test_late_for_the_notices(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was busy past the life of its results finds them among its notices."""
    monkeypatch.setattr(inbox, "SWEEP", 0.0)  # with each notice

    async def double(number: int) -> int:
        return 2 * number

    async def is_gone(broker: QueueStore, job_id: str) -> bool:
        return not await broker.call("EXISTS", broker.keys.result(job_id))

    async def work() -> None:
        async with Queue(redis_url) as other:
            other.task(result_ttl=0.1)(double)
            await Worker(other, concurrency=1).run(burst=True)  # each end is told alone
            broker, last = core_of(other).session().store, jobs[-1]
            await wait_until(lambda: is_gone(broker, last.id), "the results to expire")

    async with Queue(redis_url) as queue:
        task = queue.task(result_ttl=0.1)(double)
        jobs = [await task.enqueue(number) for number in range(5)]
        waiting = [asyncio.create_task(job.result(timeout=PATIENCE)) for job in jobs]
        broker, last = core_of(queue).session().store, jobs[-1]
        await wait_until(lambda: broker.call("HEXISTS", broker.keys.job(last.id), "w"), "its inbox")
        working = threading.Thread(target=lambda: asyncio.run(work()))
        working.start()
        working.join()
        assert await asyncio.gather(*waiting) == [0, 2, 4, 6, 8]


async def test_long_result(queue: Queue) -> None:
    """One that does not fit into a notice arrives all the same."""

    @queue.task
    async def long(size: int) -> str:
        return "x" * size

    async with Worker(queue):
        for size in (3_000, 4_100, 1_000_000):
            assert len(await (await long.enqueue(size))) == size


async def test_queue_closed(queue: Queue) -> None:
    """Whoever still waits is told; nobody hangs."""

    @queue.task
    async def never_runs() -> None: ...

    jobs = await queue.enqueue_many(never_runs.bind() for _ in range(10))
    waiting = [asyncio.ensure_future(job.result()) for job in jobs]
    await asyncio.sleep(0)
    await queue.aclose()
    async with asyncio.timeout(PATIENCE):
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in told} == {QueueUnavailable}


async def test_awaited_after_closing(store_url: str) -> None:
    """A job of a queue that was closed is told as such, whether or not it was announced."""
    async with Queue(store_url) as keeper, Queue(store_url) as queue:

        async def same(n: int) -> int:
            return n

        keeper.task(same)
        task = queue.task(same)
        async with Worker(keeper):
            assert await (await task.enqueue(1)) == 1  # from now on they are announced
        job = await task.enqueue(2)
        await queue.aclose()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Exception, match="closed"):
                await job


async def test_opened_again(queue: Queue) -> None:
    """A queue may be closed and used again."""

    @queue.task
    async def same(n: int) -> int:
        return n

    for n in range(3):
        async with Worker(queue):
            assert await (await same.enqueue(n)) == n
        await queue.aclose()


async def test_another_loop(redis_url: str) -> None:
    """A queue that is open in another event loop says so instead of failing oddly."""
    queue = Queue(redis_url)

    @queue.task
    async def nothing() -> None: ...

    async with queue:

        def elsewhere() -> None:
            asyncio.run(enqueue())

        async def enqueue() -> None:
            await nothing.enqueue()

        with pytest.raises(UsageError, match="open in another event loop"):
            await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize("hint", ["%s {", "%s null", '%s {"state":"running"}', "\udcff\udcfe", ""])
async def test_hint_that_makes_no_sense(store_url: str, queue: Queue, hint: str) -> None:
    """What is kept counts, whatever comes through the inbox; and the inbox is read on."""

    @queue.task
    async def give() -> int:
        return 1

    job = await give.enqueue()
    waiting = asyncio.ensure_future(job.result())
    await wait_until(lambda: waits(queue, job), "the job to be awaited")
    broker = core_of(queue).session().store
    notice = hint.replace("%s", job.id).encode(errors="surrogateescape")
    inbox = broker.keys.inbox(core_of(queue).session().waiter.inbox)
    await broker.call("RPUSH", inbox, notice)
    assert not waiting.done()
    async with Worker(queue):
        assert await waiting == 1


async def waits(queue: Queue, job: Job[int]) -> bool:
    """Say whether an inbox will be told of its end."""
    broker = core_of(queue).session().store
    return await broker.call("HGET", broker.keys.job(job.id), "w") is not None


async def test_kept_outcome_that_makes_no_sense(queue: Queue) -> None:
    """Who asks is told so; there is nothing to wait for."""
    broker = core_of(queue).session().store
    await broker.call("SET", broker.keys.result("j"), '{"state":"from the future"}', "PX", 60_000)
    with pytest.raises(JobError, match="outcome cannot be read"):
        await queue.job("j")
    with pytest.raises(JobError, match="its outcome cannot be read"):
        await queue.job("j").status()
