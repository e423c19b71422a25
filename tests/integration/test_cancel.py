"""Cancelling, with real workers."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq import (
    Context,
    JobCancelled,
    JobNotFound,
    JobState,
    JobTimeout,
    Queue,
    Retry,
    WaitTimeout,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.model.delivery import Delivery
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.worker.run.dispatcher import Dispatcher
from tests.support import cpu_jobs
from tests.support.jobs import block_for_file, wait_for_file
from tests.support.jobs import queue as jobs_queue
from tests.support.processes import Program
from tests.support.random_examples import scaled
from tests.support.waiting import PATIENCE, be_in_time, wait_until

STATES = {JobState.QUEUED, JobState.DELAYED}


async def test_running_coroutine(queue: Queue) -> None:
    """It is cancelled where it waits, cleans up, and whoever awaits it is told."""
    started, cleaned = asyncio.Event(), asyncio.Event()

    @queue.task(retry=Retry(5))
    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    async with Worker(queue, concurrency=2):
        job = await hang.enqueue()
        await started.wait()
        assert await job.cancel() is JobState.RUNNING
        with pytest.raises(JobCancelled) as caught:
            await job.result(timeout=PATIENCE)
        assert caught.value.job_id == job.id
        assert cleaned.is_set()
        assert await job.status() is JobState.CANCELLED
        assert await job.cancel() is JobState.CANCELLED


async def test_word_that_is_dropped_before_it_is_heard(redis_url: str) -> None:
    """While the worker's loop is blocked more is said than is kept: it asks what it has missed."""
    started = asyncio.Event()

    async def cancel(job_id: str) -> None:
        async with Queue(redis_url) as other:
            broker = core_of(other).session().store
            wake = ("XADD", broker.keys.control, "MAXLEN", "~", 1000, "*", "say", "wake")
            await broker.call(*wake)  # the worker waits for one, and gets this at once
            assert await other.job(job_id).cancel() is JobState.RUNNING
            await asyncio.gather(*(broker.call(*wake) for _ in range(1200)))

    async with Queue(redis_url) as queue:

        @queue.task
        async def hang() -> None:
            started.set()
            await asyncio.Event().wait()

        async with Worker(queue, shutdown_timeout=0):
            job = await hang.enqueue()
            await started.wait()
            elsewhere = threading.Thread(target=lambda: asyncio.run(cancel(job.id)))
            elsewhere.start()
            elsewhere.join()  # blocks this loop, which is the worker's
            with pytest.raises(JobCancelled):
                await job.result(timeout=PATIENCE)


async def test_one_after_the_other(queue: Queue) -> None:
    """Each of 100 running jobs is cancelled by push: nothing else would come to it."""
    started: asyncio.Queue[str] = asyncio.Queue()

    @queue.task
    async def hang(context: Context) -> None:
        started.put_nowait(context.job_id)
        await asyncio.Event().wait()

    async with Worker(queue, concurrency=2):
        for _ in range(100):
            job = await hang.enqueue()
            await started.get()
            assert await job.cancel() is JobState.RUNNING
            with pytest.raises(JobCancelled):
                await job.result(timeout=PATIENCE)


async def test_waiting_jobs(queue: Queue) -> None:
    """What waits, now or for later, has ended at once; its body never starts."""
    ran: list[int] = []

    @queue.task
    async def note(n: int) -> None:
        ran.append(n)

    queued = await note.enqueue(1)
    later = await note.using(delay="1h").enqueue(2)
    kept = await note.enqueue(3)
    waiting = asyncio.ensure_future(queued.result(timeout=PATIENCE))
    assert await queued.cancel() is JobState.QUEUED
    assert await later.cancel() is JobState.DELAYED
    with pytest.raises(JobCancelled):
        await waiting
    await Worker(queue).run(burst=True)
    assert await kept.status() is JobState.DONE
    assert ran == [3]
    for job in (queued, later):
        assert await job.cancel() is JobState.CANCELLED
    assert await kept.cancel() is JobState.DONE
    with pytest.raises(JobNotFound):
        await queue.job("unknown").cancel()


async def test_parked(queue: Queue) -> None:
    """What waits for newer code can be cancelled, too."""
    job = await queue.enqueue("of_the_future")
    await Worker(queue).run(burst=True)
    assert await job.cancel() is JobState.PARKED

    @queue.task
    async def of_the_future() -> None:
        pytest.fail("it ran")

    await Worker(queue).run(burst=True)
    with pytest.raises(JobCancelled):
        await job


@asynccontextmanager
async def busy_worker(queue: Queue) -> AsyncGenerator[Worker]:
    """Give a worker whose only slot is taken until the block ends."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @queue.task
    async def hold() -> None:
        started.set()
        await go_on.wait()

    async with Worker(queue, concurrency=1) as worker:
        held = await hold.enqueue()
        await started.wait()
        try:
            yield worker
            assert await held.status() is JobState.RUNNING
        finally:
            go_on.set()
        await held


def dispatcher_of(worker: Worker) -> Dispatcher:
    """Return what runs the jobs of a worker."""
    runtime = worker._incarnations.runtime  # pyright: ignore[reportPrivateUsage]  # no other way to be sure
    assert runtime is not None
    return runtime._services.dispatcher  # pyright: ignore[reportPrivateUsage]


async def fetch_ahead(queue: Queue, worker: Worker) -> list[Delivery]:
    """Hand the worker what waits, as a read does that had been sent before its slot was taken."""
    broker = core_of(queue).session().store
    link = await broker.connector.open_link("test")
    read = await Deliveries(broker).read(link, worker.name, 1, None)
    link.close()
    dispatcher_of(worker).accept(read.deliveries, read.cancelled)
    return read.deliveries


async def test_waits_in_a_worker(queue: Queue) -> None:
    """What a worker has fetched ahead, and not started, ends without a slot of its own."""

    @queue.task
    async def quick() -> None:
        pytest.fail("it ran")

    async with busy_worker(queue) as worker:
        ahead = await quick.enqueue()
        await fetch_ahead(queue, worker)
        assert await ahead.cancel() is JobState.RUNNING
        with pytest.raises(JobCancelled):
            await ahead.result(timeout=PATIENCE)


async def test_cancelled_on_arrival(queue: Queue) -> None:
    """What comes cancelled is met at once, however long the slots are taken."""

    @queue.task
    async def quick() -> None:
        pytest.fail("it ran")

    broker = core_of(queue).session().store

    async def is_met() -> bool:
        return await broker.call("EXISTS", broker.keys.cancelled) == 0

    async with busy_worker(queue) as worker:
        ahead = await quick.enqueue()
        await ahead.cancel()
        await fetch_ahead(queue, worker)
        await wait_until(is_met, "it to be thrown away")


async def test_has_not_begun(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is cancelled in the moment in which it is started ends as soon as any other."""
    monkeypatch.setattr("aiostreamq.worker.run.stopper.CLEANUP_TIME", 3600)

    @queue.task
    async def hang() -> None:
        await asyncio.Event().wait()

    async with busy_worker(queue) as worker:
        dispatcher = dispatcher_of(worker)
        dispatcher.slots.capacity = 2
        job = await hang.enqueue()
        [delivery] = await fetch_ahead(queue, worker)
        dispatcher.cancel(delivery.stream, delivery.entry)
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
        assert len(dispatcher.running) == 1


async def test_thread(queue: Queue) -> None:
    """A thread sees it in its context; who awaits the job does not wait for that."""
    started, seen = threading.Event(), threading.Event()

    @queue.task
    def spin(context: Context) -> None:
        started.set()
        while not context.is_cancelled:
            time.sleep(0.001)
        seen.set()

    async with Worker(queue):
        job = await spin.enqueue()
        await wait_until(started.is_set, "the thread")
        assert await job.cancel() is JobState.RUNNING
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
        await wait_until(seen.is_set, "the thread to see it")


async def test_process(redis_url: str, tmp_path: Path) -> None:
    """A process is killed, be it in the middle of a computation."""
    queue = cpu_jobs.queue
    queue.use_url(redis_url)
    pids = tmp_path / "pids"
    async with queue, Worker(queue, processes=1):
        job = await cpu_jobs.spin.enqueue(str(pids))
        await wait_until(lambda: pids.exists() and pids.read_text(), "the process to be noted")
        assert await job.cancel() is JobState.RUNNING
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
        pid = int(pids.read_text())
        await wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")


async def test_takes_no_notice(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that swallows its cancellation is left to itself, and has ended all the same."""
    monkeypatch.setattr("aiostreamq.worker.run.stopper.CLEANUP_TIME", 0.05)
    started, go_on = asyncio.Event(), asyncio.Event()

    @queue.task
    async def stubborn() -> None:
        started.set()
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    async with Worker(queue):
        job = await stubborn.enqueue()
        await started.wait()
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)
        go_on.set()


async def test_its_timeout_cuts_no_cleaning_short(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled job has its time to clean up, also where its timeout comes in between."""
    monkeypatch.setattr("aiostreamq.worker.run.stopper.CLEANUP_TIME", 3600)
    started, cleaned = asyncio.Event(), asyncio.Event()

    @queue.task
    async def slow_to_clean(seconds: float) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2 * seconds)
            cleaned.set()

    async def is_cancelled(soon: float) -> bool:
        started.clear()
        cleaned.clear()
        job = await slow_to_clean.using(timeout=soon).enqueue(soon)
        await started.wait()
        await job.cancel()
        with pytest.raises((JobCancelled, JobTimeout)) as caught:
            await job.result(timeout=PATIENCE)
        return caught.type is JobCancelled  # and not before that by its timeout

    async with Worker(queue):
        await be_in_time(is_cancelled)
        assert cleaned.is_set()


async def test_has_a_value_after_all(queue: Queue) -> None:
    """A task that answers its cancellation with a value is done."""
    started = asyncio.Event()

    @queue.task
    async def save() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved so far"
        return ""

    async with Worker(queue):
        job = await save.enqueue()
        await started.wait()
        await job.cancel()
        assert await job.result(timeout=PATIENCE) == "saved so far"


async def test_word_was_missed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that may have missed words asks what has been cancelled among its jobs."""
    hears = asyncio.Event()
    end = ControlStream.end

    async def end_later(self: ControlStream) -> str:
        await hears.wait()
        return await end(self)

    monkeypatch.setattr(ControlStream, "end", end_later)
    started = asyncio.Event()

    @queue.task
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async with Worker(queue):
        job = await hang.enqueue()
        await started.wait()
        assert await job.cancel() is JobState.RUNNING
        hears.set()
        with pytest.raises(JobCancelled):
            await job.result(timeout=PATIENCE)


async def test_worker_dies(redis_url: str, tmp_path: Path) -> None:
    """A job whose cancellation its worker never heeds is not run again by the next."""
    jobs_queue.use_url(redis_url)
    file = tmp_path / "go on"
    async with jobs_queue:
        command = ("-m", "aiostreamq", "run", "tests.support.jobs:queue", "--lease", "1")
        async with Program(*command, "--url", redis_url) as worker:
            job = await wait_for_file.enqueue(str(file))
            other = await block_for_file.enqueue(str(file))

            async def runs() -> bool:
                states = [await one.status() for one in (job, other)]
                return states == [JobState.RUNNING] * 2

            await wait_until(runs, "both to run")
            worker.send_signal(signal.SIGSTOP)
            assert await job.cancel() is JobState.RUNNING
            worker.send_signal(signal.SIGKILL)
        async with Worker(jobs_queue, lease=1):
            with pytest.raises(JobCancelled):
                await job.result(timeout=PATIENCE)
            file.touch()
            assert await other.result(timeout=PATIENCE) == str(file)
        assert not [key for key in await keys_of(jobs_queue) if key.endswith("cancelled")]


async def keys_of(queue: Queue) -> list[str]:
    """The names of all keys."""
    found = await core_of(queue).session().store.call("KEYS", "*")
    assert isinstance(found, list)
    return [key.decode() for key in found if isinstance(key, bytes)]


class Histories:
    """Jobs that are cancelled at any moment while workers come and go."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.started: set[str] = set()
        self.gone: dict[str, JobState] = {}  #: cancelled while they waited, and how

        @queue.task
        async def note(context: Context, turns: int) -> int:
            assert context.job_id not in self.gone, "it was cancelled before it started"
            self.started.add(context.job_id)
            for _ in range(turns):
                await asyncio.sleep(0)
            return turns

        self.note = note

    async def play(self, jobs: list[tuple[int, float, int]], concurrency: int) -> None:
        """Run and cancel; each job as (turns it takes, delay, turns until it is cancelled)."""
        async with Worker(self.queue, concurrency=concurrency), Worker(self.queue, concurrency=1):
            await asyncio.gather(*(self.one(*job) for job in jobs))

    async def one(self, turns: int, delay: float, wait: int) -> None:
        """The life of one job."""
        job = await self.note.using(delay=delay).enqueue(turns)
        for _ in range(wait):
            await asyncio.sleep(0)
        had_started = job.id in self.started
        state = await job.cancel()
        if state in {JobState.QUEUED, JobState.DELAYED}:
            assert not had_started
            # In the same turn as the answer came; Redis has refused the entry since before.
            assert job.id not in self.started
            self.gone[job.id] = state
        try:
            assert await job.result(timeout=PATIENCE) == turns
        except JobCancelled:
            assert state in {JobState.QUEUED, JobState.DELAYED, JobState.RUNNING}
        else:
            assert state in {JobState.DONE, JobState.RUNNING}
        if job.id in self.gone:
            assert await job.status() is JobState.CANCELLED


async def test_job_whose_stream_was_deleted(queue: Queue) -> None:
    """Nobody will run it: to cancel it is what ends the wait of those who await it."""
    job = await queue.enqueue("size")
    awaiting = asyncio.ensure_future(job.result())
    with pytest.raises(WaitTimeout):
        await job.result(timeout=0.1)
    broker = core_of(queue).session().store
    await broker.call("DEL", broker.keys.stream("default"))
    assert await job.cancel() is JobState.QUEUED
    with pytest.raises(JobCancelled):
        await awaiting


@pytest.mark.may_block("a worker that ends before its thread has begun waits for that")
@settings(max_examples=scaled(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([0, 0, 0.001]), st.integers(0, 200)),
        min_size=1,
        max_size=30,
    ),
    concurrency=st.integers(1, 5),
)
def test_cancelled_before_it_started_never_starts(
    store_url: str, jobs: list[tuple[int, float, int]], concurrency: int
) -> None:
    """Whatever is cancelled whenever: what was caught waiting never starts and stays cancelled."""

    async def play() -> None:
        async with Queue(store_url) as queue:
            histories = Histories(queue)
            await histories.play(jobs, concurrency)
            await Worker(queue).run(burst=True)  # what was cancelled last is met, too
            assert not histories.started & set(histories.gone)
            assert not [key for key in await keys_of(queue) if key.endswith("cancelled")]

    asyncio.run(play())
