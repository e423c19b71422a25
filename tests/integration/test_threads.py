"""`def` tasks: they start when there is a place for them, and wait where one comes free."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from aiostreamq import (
    Context,
    Job,
    JobCancelled,
    JobExpired,
    JobState,
    JobTimeout,
    Queue,
    QueueFull,
    Worker,
)
from aiostreamq.model.keys import OVERFLOW
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.worker.run import pool
from tests.integration import threads_app
from tests.support.http import ask
from tests.support.processes import worker_program
from tests.support.waiting import PATIENCE, wait_until


@dataclass
class Gate:
    """Where `def` tasks wait until they are let through; all of them at the end of a test."""

    opened: threading.Event = field(default_factory=threading.Event)
    begun: list[int] = field(default_factory=list[int])

    def pass_through(self, number: int) -> int:
        """Wait in a thread."""
        self.begun.append(number)
        self.opened.wait()
        return number


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Closed."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
async def other(store_url: str, queue: Queue) -> AsyncIterator[Queue]:
    """The same queue, for another worker."""
    async with Queue(store_url, name=queue.name) as other:
        yield other


def fill(queue: Queue, gate: Gate) -> None:
    """Register tasks that need threads, and one that does not."""

    @queue.task
    def occupy(number: int) -> int:
        return gate.pass_through(number)

    @queue.task(timeout=0.5)
    def quick(number: int) -> int:
        return number

    @queue.task(timeout=0.05)
    def hang(number: int) -> int:
        return gate.pass_through(number)

    @queue.task
    async def on_loop(number: int) -> int:
        return number


async def enqueue(queue: Queue, task: str, count: int) -> list[Job[object]]:
    """Enqueue calls with numbers from 0 on."""
    return await queue.enqueue_many(queue.named(task).bind(n) for n in range(count))


async def results(jobs: list[Job[object]]) -> list[object]:
    """Await all, errors by their type."""
    ends = await asyncio.gather(
        *(job.result(timeout=PATIENCE) for job in jobs), return_exceptions=True
    )
    return [type(end) if isinstance(end, BaseException) else end for end in ends]


async def overflowed(queue: Queue) -> int:
    """How many jobs wait for a worker with a free thread."""
    lanes = (await queue.info()).lanes
    return sum(lane.waiting for lane in lanes if lane.name == OVERFLOW["thread"])


async def test_timeout_runs_from_the_first_line(queue: Queue, gate: Gate) -> None:
    """To wait for a thread, however long, costs a job nothing."""
    fill(queue, gate)
    async with Worker(queue, threads=1):
        blocker = await queue.enqueue("occupy", 0)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        jobs = await enqueue(queue, "quick", 20)
        with pytest.raises(TimeoutError):
            await jobs[-1].result(timeout=1)  # twice the timeout of each
        gate.opened.set()
        assert await results(jobs) == list(range(20))
        assert await blocker == 0


async def test_others_run_what_waits(queue: Queue, other: Queue, gate: Gate) -> None:
    """What a worker cannot start soon is run by one that has threads free."""
    fill(queue, gate)
    fill(other, Gate())
    async with Worker(queue, threads=2):
        await enqueue(queue, "occupy", 2)
        await wait_until(lambda: len(gate.begun) == 2, "the threads to be taken")
        jobs = await enqueue(queue, "quick", 50)
        await wait_until(lambda: overflowed(queue), "some to overflow")
        async with Worker(other, threads=2):
            assert await results(jobs) == list(range(50))
        gate.opened.set()


async def test_overflow_comes_back(queue: Queue, gate: Gate) -> None:
    """Where there is nobody else, its own worker runs what has overflowed, in order."""
    fill(queue, gate)
    async with Worker(queue, threads=1):
        await enqueue(queue, "occupy", 1)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        jobs = await enqueue(queue, "occupy", 30)
        await wait_until(lambda: overflowed(queue), "some to overflow")
        gate.opened.set()
        assert await results(jobs) == list(range(30))
    assert await overflowed(queue) == 0
    assert gate.begun == [0, *range(30)]


async def test_each_overflows_once(queue: Queue, other: Queue, gate: Gate) -> None:
    """Between two busy workers no job goes back and forth."""
    fill(queue, gate)
    fill(other, gate)
    deliveries: Counter[int] = Counter()

    def noted(context: Context, number: int) -> None:
        deliveries[number] = context.delivery

    for one in (queue, other):
        one.task(noted)
    async with Worker(queue, threads=1), Worker(other, threads=1):
        await enqueue(queue, "occupy", 2)
        await wait_until(lambda: len(gate.begun) == 2, "the threads to be taken")
        jobs = await enqueue(queue, "noted", 40)
        await wait_until(lambda: _has_all(queue, 40), "all to overflow")
        gate.opened.set()
        await results(jobs)
    assert set(deliveries.values()) <= {2, 3}, "to the overflow, and there once more at most"


async def _has_all(queue: Queue, count: int) -> bool:
    return await overflowed(queue) == count


async def test_only_tasks_for_threads(queue: Queue, gate: Gate) -> None:
    """Where nothing else could be read, jobs stay in their lane for others."""

    @queue.task
    def occupy(number: int) -> int:
        return gate.pass_through(number)

    async with Worker(queue, threads=1):
        jobs = await enqueue(queue, "occupy", 100)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        await wait_until(lambda: overflowed(queue), "the one that waited too long to overflow")
        info = await queue.info()
        lane = next(lane for lane in info.lanes if lane.name == "default")
        assert lane.waiting >= 90
        gate.opened.set()
        assert await results(jobs) == list(range(100))


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(("concurrency", "waiting"), [(4, 300), (1000, 3000)])
async def test_async_jobs_go_on(queue: Queue, gate: Gate, concurrency: int, waiting: int) -> None:
    """Threads that are taken, or stuck, and any number of jobs that wait for them, stop none."""
    fill(queue, gate)
    async with Worker(queue, threads=2, concurrency=concurrency):
        await results(await enqueue(queue, "hang", 4))  # as many as can be stuck
        await enqueue(queue, "occupy", waiting)
        assert await results(await enqueue(queue, "on_loop", 50)) == list(range(50))


async def test_stuck_threads_are_replaced(queue: Queue, gate: Gate) -> None:
    """Up to as many as there are; then the worker says that it runs no `def` task."""
    fill(queue, gate)
    async with Worker(queue, threads=2) as worker:
        assert await results(await enqueue(queue, "hang", 2)) == [JobTimeout] * 2
        assert await results(await enqueue(queue, "quick", 9)) == list(range(9))
        assert worker.state is WorkerState.READY
        assert await results(await enqueue(queue, "hang", 2)) == [JobTimeout] * 2
        await wait_until(lambda: worker.state is WorkerState.STUCK, "all threads to be stuck")
        jobs = await enqueue(queue, "quick", 9)
        assert await results(await enqueue(queue, "on_loop", 9)) == list(range(9))
        assert {await job.status() for job in jobs} <= {JobState.QUEUED, JobState.RUNNING}
        gate.opened.set()
        assert await results(jobs) == list(range(9))
        await wait_until(lambda: worker.state is WorkerState.READY, "the threads to be back")


async def test_stuck_worker_takes_no_def_jobs(queue: Queue, other: Queue, gate: Gate) -> None:
    """A worker whose threads are all stuck fails none of them: others run them."""
    fill(queue, gate)
    fill(other, gate)
    async with Worker(queue, threads=1) as stuck:
        await results(await enqueue(queue, "hang", 2))
        await wait_until(lambda: stuck.state is WorkerState.STUCK, "all threads to be stuck")
        async with Worker(other, threads=1):
            assert await results(await enqueue(queue, "quick", 100)) == list(range(100))


WHILE_WAITING: dict[str, tuple[Callable[[Queue, Job[object]], object], type[Exception]]] = {
    "cancelled": (lambda _, job: job.cancel(), JobCancelled),
    "cancelled together": (lambda queue, _: queue.cancel_many(task="quick"), JobCancelled),
}


@pytest.mark.parametrize("how", WHILE_WAITING)
@pytest.mark.parametrize("patience", [0.05, 3600.0], ids=["overflowed", "waits here"])
async def test_ends_while_it_waits(
    queue: Queue, gate: Gate, how: str, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a thread can be ended as anything that waits, wherever that is."""
    monkeypatch.setattr(pool, "PATIENCE", patience)
    fill(queue, gate)
    end, error = WHILE_WAITING[how]
    async with Worker(queue, threads=1):
        await enqueue(queue, "occupy", 1)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        job = await queue.enqueue("quick", 1)
        if patience < 1:
            await wait_until(lambda: overflowed(queue), "it to overflow")
        answer = end(queue, job)
        assert asyncio.iscoroutine(answer)
        await answer
        with pytest.raises(error):
            await job.result(timeout=PATIENCE)
        gate.opened.set()


async def test_expires_while_it_waits(queue: Queue, gate: Gate) -> None:
    """What has not got a thread in time is not started."""
    fill(queue, gate)
    async with Worker(queue, threads=1):
        await enqueue(queue, "occupy", 1)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        quick = queue.named("quick")
        jobs = [
            await quick.using(expires=0.2).enqueue(1),
            await quick.using(deadline=0.2).enqueue(2),
        ]
        with pytest.raises(TimeoutError):
            await jobs[0].result(timeout=0.5)
        gate.opened.set()
        assert await results(jobs) == [JobExpired, JobExpired]


async def test_drain_hands_back_what_waits(queue: Queue, other: Queue, gate: Gate) -> None:
    """Who waits for a thread of a worker that stops runs with another at once."""
    fill(queue, gate)
    fill(other, Gate())
    async with Worker(queue, threads=1, shutdown_timeout=3600) as worker:
        await enqueue(queue, "occupy", 1)
        await wait_until(lambda: gate.begun, "the thread to be taken")
        jobs = await enqueue(queue, "quick", 3)
        worker.stop()
        async with Worker(other, threads=1):
            assert await results(jobs) == [0, 1, 2]
        gate.opened.set()


async def test_burst_takes_what_overflowed(queue: Queue, gate: Gate) -> None:
    """A burst ends when nothing is left, what it has let overflow itself included."""
    fill(queue, gate)
    jobs = [*await enqueue(queue, "occupy", 1), *await enqueue(queue, "quick", 30)]
    burst = asyncio.create_task(Worker(queue, threads=1).run(burst=True))
    await wait_until(lambda: overflowed(queue), "some to overflow")
    gate.opened.set()
    async with asyncio.timeout(PATIENCE):
        await burst
    assert await results(jobs) == [0, *range(30)]


async def test_overflow_counts_as_length(store_url: str, gate: Gate) -> None:
    """What has left its lane for want of a thread makes no room for more."""
    async with Queue(store_url, max_length=10) as queue:
        fill(queue, gate)
        async with Worker(queue, threads=1):
            await enqueue(queue, "occupy", 1)
            await wait_until(lambda: gate.begun, "the thread to be taken")
            await enqueue(queue, "quick", 9)
            await wait_until(lambda: overflowed(queue), "some to overflow")
            with pytest.raises(QueueFull):
                await queue.enqueue("quick", 9)
            gate.opened.set()


@pytest.mark.may_block("the test starts processes")
async def test_recycled_by_its_supervisor(redis_url: str) -> None:
    """A worker whose threads are all stuck is replaced, and says before that it is not ready."""
    threads_app.queue.use_url(redis_url)
    options = ("--workers", "1", "--max-jobs", "100000", "--threads", "1", "--health-port", "0")
    target = "tests.integration.threads_app:queue"
    async with threads_app.queue, worker_program(redis_url, *options, target=target) as program:
        first, second = await threads_app.hang.enqueue(), await threads_app.hang.enqueue()
        for job in (first, second):
            with pytest.raises(JobTimeout):
                await job.result(timeout=PATIENCE)
        await program.wait_for_line("all its threads are stuck")
        job = await threads_app.add.enqueue(1, 2)
        assert await job.result(timeout=PATIENCE) == 3


@pytest.mark.may_block("the test starts processes")
async def test_stuck_is_shown(redis_url: str) -> None:
    """Whoever looks sees it: probes, the log, and the list of workers."""
    threads_app.queue.use_url(redis_url)
    options = ("--threads", "1", "--health-port", "0", "--lease", "1")
    target = "tests.integration.threads_app:queue"
    async with (
        threads_app.queue as queue,
        worker_program(redis_url, *options, target=target) as program,
    ):
        for _ in range(2):
            job = await threads_app.hang.enqueue()
            with pytest.raises(JobTimeout):
                await job.result(timeout=PATIENCE)
        await program.wait_for_line("all threads are stuck")
        port = int((await program.wait_for_line("/live")).partition("0.0.0.0:")[2].split("/")[0])

        async def is_shown() -> bool:
            [worker] = await queue.workers()
            return worker.stuck_threads == 2 and worker.state is WorkerState.STUCK

        await wait_until(is_shown, "the beat to tell of it")
        answer = await ask(port, "/ready")
        assert (answer.status, answer.told["status"]) == (503, "stuck")
        assert await (await threads_app.double.enqueue(4)).result(timeout=PATIENCE) == 8
