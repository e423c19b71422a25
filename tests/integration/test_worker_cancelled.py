"""A worker ends however it is cancelled, and with it all that it does."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import pytest

from aiostreamq import BrokerError, JobState, Queue, Worker, WorkerState
from aiostreamq.client.core import core_of
from aiostreamq.store.schedules import ScheduleStore
from tests.support.waiting import PATIENCE, wait_until

#: Seconds: the least there is, as some tests wait for it to run out.
LEASE = 1.0

SERVICES = {
    f"aiostreamq:{name}"
    for name in (
        *("worker", "reader", "beat", "reaper", "control", "promoter"),
        *("canceller", "pauses", "parking", "ticker"),
    )
}


def services() -> list[str]:
    """What continues of workers in this process: tasks and threads."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    names += [thread.name for thread in threading.enumerate()]
    return sorted(SERVICES.intersection(names))


async def wait_gone(worker: Worker) -> None:
    """Wait until nothing of a worker continues."""
    await wait_until(lambda: not services(), "its services to end")
    assert worker.state is WorkerState.STOPPED


class Held:
    """A task that lasts for ever the first time, and its job, running."""

    def __init__(self, queue: Queue, *, is_stubborn: bool = False) -> None:
        """Register it; one that *is_stubborn* takes for ever to clean up too."""
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.let_go = asyncio.Event()
        self.is_first = True

        async def hold() -> str:
            if not self.is_first:
                return "run again"
            self.is_first = False
            self.started.set()
            try:
                await self.let_go.wait()
            finally:
                self.cancelled.set()
                if is_stubborn:
                    await self.let_go.wait()
            return "let go"

        self.task = queue.task(hold)
        self.queue = queue

    async def enqueue(self) -> None:
        """Enqueue its job."""
        self.job = await self.task.enqueue()

    async def check_runs_again(self) -> None:
        """Check that another worker runs the job, as soon as it may."""
        async with Worker(self.queue, lease=LEASE):
            assert await self.job.result(timeout=PATIENCE) == "run again"


async def hold_in_a_block(worker: Worker, held: Held) -> None:
    """Be busy in a block of `async with` until that is cancelled."""
    async with worker:
        await held.let_go.wait()


async def hold_in_run(worker: Worker, _held: Held) -> None:
    """Be a program that does nothing but work."""
    await worker.run()


async def hold_at_the_end(worker: Worker, held: Held) -> None:
    """Wait at the end of the block for a job that does not end."""
    async with worker:
        await held.started.wait()


Way = Callable[[Worker, Held], Coroutine[Any, Any, None]]
WAYS = [hold_in_a_block, hold_in_run, hold_at_the_end]


async def wait_draining(worker: Worker) -> None:
    """Wait until it takes no more jobs."""
    await wait_until(lambda: worker.state is WorkerState.DRAINING, "it to drain")


async def wait_on_the_way(way: Way, worker: Worker, held: Held) -> None:
    """Wait until the job runs, and the worker's program is where it is to be cancelled."""
    await held.started.wait()
    if way is hold_at_the_end:
        await wait_draining(worker)


async def run_and_cancel(way: Way, worker: Worker, held: Held) -> asyncio.Future[None]:
    """Cancel the worker's program once while the job runs; returns it, and it drains."""
    await held.enqueue()
    running = asyncio.ensure_future(way(worker, held))
    await wait_on_the_way(way, worker, held)
    running.cancel()
    await wait_draining(worker)
    await asyncio.sleep(0)
    return running


@pytest.mark.parametrize("way", WAYS)
async def test_cancel_scope(queue: Queue, way: Way) -> None:
    """A cancel scope repeats itself until it is obeyed; the worker drains, and hands back."""
    held = Held(queue)
    await held.enqueue()
    worker = Worker(queue, lease=LEASE, shutdown_timeout=0.1)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(way, worker, held)
            await wait_on_the_way(way, worker, held)
            scope.cancel()
    assert scope.cancelled_caught
    assert held.cancelled.is_set()
    assert await held.job.status() is JobState.QUEUED, "handed back, not left to the lease"
    await wait_gone(worker)
    await held.check_runs_again()


@pytest.mark.parametrize("way", WAYS)
async def test_cancelled_once(queue: Queue, way: Way) -> None:
    """It drains: what runs gets to its end."""
    held, worker = Held(queue), Worker(queue, lease=LEASE)
    running = await run_and_cancel(way, worker, held)
    assert not running.done()
    held.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await wait_gone(worker)
    assert await held.job.status() is JobState.DONE


@pytest.mark.parametrize("way", WAYS)
async def test_cancelled_again(queue: Queue, way: Way) -> None:
    """It leaves at once, and nobody takes it for alive: others run what ran, after the lease."""
    held, worker = Held(queue), Worker(queue, lease=LEASE)
    running = await run_and_cancel(way, worker, held)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await wait_gone(worker)
    assert held.cancelled.is_set()
    assert await held.job.status() is JobState.RUNNING
    await held.check_runs_again()
    held.let_go.set()


async def test_cancelled_while_jobs_clean_up(queue: Queue) -> None:
    """Also what it had cancelled already, and was waiting for, is run again by others."""
    held = Held(queue, is_stubborn=True)
    await held.enqueue()
    worker = Worker(queue, lease=LEASE, shutdown_timeout=0)
    running = asyncio.create_task(worker.run())
    await held.started.wait()
    running.cancel()
    await held.cancelled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await wait_gone(worker)
    await held.check_runs_again()
    held.let_go.set()


async def test_leave(queue: Queue) -> None:
    """A worker that is told to leave ends, and whoever waits for it continues."""
    held = Held(queue, is_stubborn=True)
    await held.enqueue()
    worker = Worker(queue, lease=LEASE)
    async with asyncio.timeout(PATIENCE), worker:
        await held.started.wait()
        worker.abort()
    await wait_gone(worker)
    worker.abort()  # which is no news
    await held.check_runs_again()
    held.let_go.set()


@pytest.mark.parametrize("way", [hold_in_a_block, hold_in_run])
@pytest.mark.parametrize("is_scope", [False, True])
async def test_while_it_starts(
    queue: Queue, way: Way, is_scope: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been started by then ends, and the others never hear of that worker again."""
    is_slow = asyncio.Event()

    async def answer_never(*_: object, **__: object) -> None:
        is_slow.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ScheduleStore, "declare", answer_never)
    worker, held = Worker(queue, lease=LEASE), Held(queue)

    scope = anyio.CancelScope()

    async def work() -> None:
        with scope:
            await way(worker, held)

    running = asyncio.create_task(work())
    await is_slow.wait()
    if is_scope:
        scope.cancel()
    else:
        running.cancel()
    await asyncio.wait([running])
    await wait_gone(worker)
    assert await names(queue) == []


async def test_can_not_start(queue: Queue) -> None:
    """A worker that Redis refuses has stopped, and is none of the workers."""
    broker = core_of(queue).session().store
    await broker.call("SET", broker.keys.paused, "of another program")
    worker = Worker(queue, lease=LEASE)
    with pytest.raises(BrokerError, match="WRONGTYPE"):
        await worker.run()
    await wait_gone(worker)
    assert await names(queue) == []


async def names(queue: Queue) -> list[str]:
    """The workers that Redis knows of."""
    broker = core_of(queue).session().store
    found = await broker.call("HKEYS", broker.keys.workers)
    assert isinstance(found, list)
    return [name.decode() for name in found if isinstance(name, bytes)]


async def test_its_loop_ends(queue: Queue) -> None:
    """The jobs that the end of a loop cancels have not failed: others run them."""
    held = Held(queue)
    await held.enqueue()
    worker = Worker(queue, lease=LEASE, concurrency=1)
    running = asyncio.create_task(worker.run())
    await held.started.wait()
    next_one = await held.task.enqueue()
    # As asyncio.run does, where a program has ended and its worker has not.
    everything = asyncio.all_tasks() - {asyncio.current_task()}
    for task in everything:
        task.cancel()
    await asyncio.wait(everything, timeout=PATIENCE)
    assert running.cancelled()
    await wait_gone(worker)
    assert held.cancelled.is_set()
    assert await held.job.status() is JobState.RUNNING
    await held.check_runs_again()
    assert await next_one == "run again"


async def test_takes_no_more_jobs(redis_url: str) -> None:
    """After its program has given it up, and closed the queue, jobs are for others alone."""
    async with Queue(redis_url) as other:

        async def same(n: int) -> int:
            return n

        given_up = Queue(redis_url)
        given_up.task(same)
        task = other.task(same)
        worker = Worker(given_up, lease=LEASE)
        with anyio.CancelScope() as scope:
            async with given_up, worker:
                scope.cancel()
                await asyncio.Event().wait()
        with suppress(asyncio.CancelledError):
            await given_up.aclose()
        await wait_gone(worker)
        async with Worker(other, lease=LEASE), asyncio.timeout(PATIENCE):
            jobs = [await task.enqueue(n) for n in range(20)]
            assert await asyncio.gather(*jobs) == list(range(20))
