"""Listeners get what happens to jobs, workers and connections."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import pytest

from aiostreamq import Drop, JobCancelled, JobDropped, JobFailed, JobState, Queue, Retry, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.telemetry import (
    ConnectionLost,
    ConnectionRegained,
    JobDelivered,
    JobEnded,
    JobEnqueued,
    JobHandedBack,
    JobParked,
    JobRetried,
    JobsRecovered,
    JobStarted,
    LoopBlocked,
    OutcomeRefused,
    TelemetryEvent,
)
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from tests.support.proxy import Proxy

E = TypeVar("E")


class Listener:
    """Notes all events."""

    def __init__(self) -> None:
        self.events: list[TelemetryEvent] = []

    def __call__(self, event: TelemetryEvent) -> None:
        """Note an event."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in their order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[E]) -> E:
        """Wait for an event of a kind; return the first."""
        await wait_until(lambda: self.of(kind), kind.__name__)
        return self.of(kind)[0]


@pytest.fixture
def listener(queue: Queue) -> Listener:
    """Give one that has all events of the queue."""
    return queue.on_event(Listener())


async def test_life_of_a_job(queue: Queue, listener: Listener) -> None:
    """A plain job is enqueued, delivered, started and ended, with its times."""

    @queue.task
    async def double(n: int) -> int:
        await asyncio.sleep(0.02)
        return 2 * n

    job = await double.enqueue(2)
    async with Worker(queue) as worker:
        assert await job == 4
    q, w = queue.name, worker.name
    *before, ended = listener.events
    assert before == [
        JobEnqueued(q, "double", job.id, "default"),
        JobDelivered(q, w, job.id, 1, 1),
        JobStarted(q, w, "double", job.id, 1),
    ]
    assert isinstance(ended, JobEnded)
    assert (ended.task, ended.job_id, ended.state, ended.error) == (
        "double", job.id, JobState.DONE, None,
    )  # fmt: skip
    assert 0.02 <= ended.ran_seconds < PATIENCE
    assert 0 <= ended.waited_seconds < PATIENCE


async def test_failed_runs(queue: Queue, listener: Listener) -> None:
    """A retry and the end carry what was raised."""

    @queue.task(retry=Retry(2, backoff=[0.01]))
    async def fail() -> None:
        raise ValueError("no tea")

    job = await fail.enqueue()
    async with Worker(queue):
        with pytest.raises(JobFailed):
            await job
    [retried], [ended] = listener.of(JobRetried), listener.of(JobEnded)
    assert (retried.job_id, retried.attempt) == (job.id, 1)
    assert (ended.job_id, ended.attempt, ended.state) == (job.id, 2, JobState.FAILED)
    assert retried.after_seconds >= 0
    assert str(retried.error) == str(ended.error) == "no tea"


async def test_dropped_job(queue: Queue, listener: Listener) -> None:
    """Its error is the Drop."""

    @queue.task
    async def drop() -> None:
        raise Drop("not needed")

    async with Worker(queue):
        with pytest.raises(JobDropped):
            await (await drop.enqueue())
    [ended] = listener.of(JobEnded)
    assert ended.state is JobState.DROPPED
    assert isinstance(ended.error, Drop)


async def test_job_that_was_cancelled_before_it_ran(queue: Queue, listener: Listener) -> None:
    """It ends once if at all, and is not started."""

    @queue.task
    async def never() -> None:
        pytest.fail("it ran")

    job = await never.using(delay=0.05).enqueue()
    await job.cancel()
    async with Worker(queue):
        with pytest.raises(JobCancelled):
            await job
    assert listener.of(JobStarted) == []
    assert len(listener.of(JobEnded)) <= 1


async def test_expired_job(queue: Queue, listener: Listener) -> None:
    """It has waited, and was not started."""

    @queue.task
    async def late() -> None:
        pytest.fail("it ran")

    job = await late.using(expires=0.01).enqueue()
    late_at = time.monotonic() + 0.02
    await wait_until(lambda: time.monotonic() > late_at, "its time to be over")
    await Worker(queue).run(burst=True)
    [ended] = listener.of(JobEnded)
    assert (ended.job_id, ended.state, ended.ran_seconds) == (job.id, JobState.EXPIRED, 0.0)
    assert ended.waited_seconds > 0.01
    assert listener.of(JobStarted) == []


async def test_job_of_an_unknown_task_is_parked(queue: Queue, listener: Listener) -> None:
    """Its task has no name here but the one in the job."""
    job = await queue.enqueue("unknown")
    async with Worker(queue):
        parked = await listener.wait_for(JobParked)
    assert (parked.task, parked.job_id) == ("unknown", job.id)


async def test_job_is_handed_back_at_shutdown(queue: Queue, listener: Listener) -> None:
    """A run that is cut short ends nothing."""

    @queue.task
    async def hang() -> None:
        await asyncio.Event().wait()

    job = await hang.enqueue()
    async with Worker(queue, shutdown_timeout=0):
        await listener.wait_for(JobStarted)
    assert [event.job_id for event in listener.of(JobHandedBack)] == [job.id]
    assert listener.of(JobEnded) == []


async def test_bulk(queue: Queue, listener: Listener) -> None:
    """Each job of a bulk is enqueued; one whose id is taken is not."""

    @queue.task
    async def size(n: int) -> int:
        return n

    await queue.enqueue_many([size.bind(1), size.using(id="same").bind(2)])
    await queue.enqueue_many([size.using(id="same").bind(3)])
    await size.using(id="same").enqueue(4)
    await wait_until(lambda: len(listener.of(JobEnqueued)) >= 2, "both")
    await core_of(queue).listeners.flush(PATIENCE)
    assert [event.task for event in listener.of(JobEnqueued)] == ["size", "size"]
    assert listener.of(JobEnqueued)[1].job_id == "same"


async def test_listener_of_one_worker(queue: Queue, listener: Listener) -> None:
    """It gets the events of that worker alone; the queue's listener gets all."""

    @queue.task
    async def nothing() -> None:
        """Do nothing."""

    own, other = Listener(), Listener()
    async with Worker(queue, listeners=[own]) as worker:
        await (await nothing.enqueue())
    await (await nothing.enqueue()).cancel()
    async with Worker(queue, listeners=[other]):
        pass
    assert {type(event) for event in own.events} == {JobDelivered, JobStarted, JobEnded}
    assert own.of(JobEnded)[0].worker == worker.name
    assert own.of(JobEnded)[0] in listener.events


async def test_blocked_listener_does_not_delay_jobs(queue: Queue) -> None:
    """Jobs run while it blocks, and a worker ends while it does."""
    go_on = threading.Event()

    @queue.on_event
    def block(event: TelemetryEvent) -> None:
        go_on.wait(PATIENCE)

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    try:
        async with asyncio.timeout(PATIENCE / 2), Worker(queue, listeners=[block]):
            assert [await (await double.enqueue(n)) for n in range(20)] == list(range(0, 40, 2))
    finally:
        go_on.set()


async def test_raising_listener_does_not_hurt_jobs(
    queue: Queue, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged once, and other listeners get their events."""

    def fail(event: TelemetryEvent) -> None:
        raise SystemExit(str(event))

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    async with Worker(queue, listeners=[fail]):
        assert [await (await double.enqueue(n)) for n in range(5)] == [0, 2, 4, 6, 8]
    assert caplog.text.count("a listener raised") == 1
    assert len(listener.of(JobEnded)) == 5


async def test_jobs_of_a_dead_worker(queue: Queue, listener: Listener) -> None:
    """The worker that finds it reports what it recovered."""
    first = asyncio.Event()

    @queue.task
    async def hang_once() -> None:
        if not first.is_set():
            first.set()
            await asyncio.Event().wait()

    job = await hang_once.enqueue()
    async with Worker(queue, lease=1) as dead:
        await first.wait()
        dead.abort()
    async with Worker(queue, lease=1) as worker:
        await job.result(timeout=PATIENCE)
    [recovered] = listener.of(JobsRecovered)
    assert recovered == JobsRecovered(queue.name, worker.name, dead.name, 1, 0)


async def test_refused_outcome(queue: Queue, listener: Listener) -> None:
    """A worker that has lost its job reports that its outcome was refused."""
    may_end = asyncio.Event()

    @queue.task
    async def slow() -> None:
        await may_end.wait()

    job = await slow.enqueue()
    deliveries = Deliveries(core_of(queue).session().store)
    async with Worker(queue, concurrency=1) as zombie:
        await listener.wait_for(JobStarted)
        await deliveries.requeue(await deliveries.read_all_own(zombie.name))
        async with Worker(queue, concurrency=1):
            await wait_until(lambda: len(listener.of(JobStarted)) == 2, "the second run")
            may_end.set()
            refused = await listener.wait_for(OutcomeRefused)
    assert (refused.worker, refused.job_id, refused.attempt) == (zombie.name, job.id, 1)


@pytest.mark.may_block("that is what it is about")
async def test_blocked_loop(redis_url: str) -> None:
    """It is reported from another thread, while it is blocked."""
    listener = Listener()
    async with Queue(redis_url) as queue:

        @queue.task
        async def block() -> bool:
            ends = time.monotonic() + PATIENCE
            while not (found := listener.of(LoopBlocked)) and time.monotonic() < ends:
                time.sleep(0.01)  # noqa: ASYNC251
            return bool(found)

        async with Worker(queue, loop_block_warning=0.1, listeners=[listener]):
            job = await block.enqueue()
            assert await job.result(timeout=2 * PATIENCE)
    [blocked] = listener.of(LoopBlocked)
    assert blocked.blocker == f"job:block:{job.id}"
    assert "in block" in blocked.stack
    assert blocked.seconds >= 0.1


async def test_outage(redis_url: str, proxy: Proxy) -> None:
    """A connection that is lost, and regained, is named by its purpose."""
    listener = Listener()
    async with Queue(proxy.url) as queue:
        queue.on_event(listener)
        await queue.info()
        proxy.cut()
        await queue.info()
        lost = await listener.wait_for(ConnectionLost)
        regained = await listener.wait_for(ConnectionRegained)
    assert (lost.queue, lost.connection) == (regained.queue, regained.connection)
    assert regained.after_seconds >= 0
