"""Workers of several queues in one process, with shared slots."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from aiostreamq import JobState, Queue, UsageError, Worker, WorkerGroup, WorkerState
from tests.support.processes import Program
from tests.support.waiting import wait_until

APP = ("tests.support.two_queues_app:orders", "tests.support.two_queues_app:mail")


class Counter:
    """Counts the jobs that run at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.gate = asyncio.Event()

    async def run(self) -> None:
        """Run until the gate opens."""
        self.now += 1
        self.most = max(self.most, self.now)
        await self.gate.wait()
        self.now -= 1


def queues_with(counter: Counter, url: str, count: int = 2) -> list[Queue]:
    """Return queues whose task is counted."""
    queues = [Queue(url, name=f"q{n}") for n in range(count)]
    for queue in queues:
        queue.task(name="run")(counter.run)
    return queues


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_slots_count_together(store_url: str, concurrency: int) -> None:
    """No more jobs run at once than `concurrency`, and one for each queue after the first."""
    counter = Counter()
    queues = queues_with(counter, store_url, 3)
    async with queues[0], queues[1], queues[2], WorkerGroup(queues, concurrency=concurrency):
        jobs = [await queue.enqueue("run") for _ in range(10) for queue in queues]
        await wait_until(lambda: is_true(counter.now >= concurrency), "the slots to fill")
        # These are read when no slot is free.
        last = [await queue.enqueue("run") for queue in queues]
        await wait_until(lambda: is_true(counter.now >= concurrency), "the slots to fill")
        counter.gate.set()
        for job in [*jobs, *last]:
            await job
    assert concurrency <= counter.most <= concurrency + 2


async def test_one_queue_gets_all_slots(store_url: str) -> None:
    """A queue whose neighbour is idle uses all slots; what waits for one starts when one ends."""
    counter = Counter()
    first, second = queues_with(counter, store_url)
    async with first, second, WorkerGroup([first, second], concurrency=6):
        jobs = [await first.enqueue("run") for _ in range(12)]
        await wait_until(lambda: is_true(counter.now == 6), "the queue to take all slots")
        other = [await second.enqueue("run") for _ in range(4)]
        await wait_until(lambda: is_true(counter.now == 7), "the other queue to run one")
        counter.gate.set()
        for job in [*jobs, *other]:
            await job
    assert counter.most == 7


async def test_queues_await_each_other(store_url: str) -> None:
    """With one slot, a job that awaits a job of another queue of the group is not a deadlock."""
    first, second = Queue(store_url, name="a"), Queue(store_url, name="b")

    @second.task
    async def child(n: int) -> int:
        return n

    @first.task
    async def parent(n: int) -> int:
        return await (await child.enqueue(n)) + 1

    async with first, second, WorkerGroup([first, second], concurrency=1):
        jobs = [await parent.enqueue(n) for n in range(5)]
        assert [await job for job in jobs] == [1, 2, 3, 4, 5]


async def test_waiting_jobs_are_handed_back(store_url: str) -> None:
    """A job that was sent here, and finds its slot taken by another queue, can run elsewhere."""
    counter = Counter()
    first, second = queues_with(counter, store_url)
    async with first, second, WorkerGroup([first, second], concurrency=4):
        held = [await first.enqueue("run") for _ in range(4)]
        await wait_until(lambda: is_true(counter.now == 4), "the first queue to take all slots")
        # The read of the second queue began when all slots were free.
        waiting = [await second.enqueue("run") for _ in range(4)]
        await wait_until(lambda: is_true(counter.now == 5), "one of the second queue to run")
        async with Worker(second, concurrency=4):
            await wait_until(lambda: is_true(counter.now == 8), "another worker to run the others")
            counter.gate.set()
            for job in [*held, *waiting]:
                await job


async def test_burst(store_url: str) -> None:
    """It ends when all queues are empty, also of what their jobs enqueue to each other."""
    first, second = Queue(store_url, name="a"), Queue(store_url, name="b")
    ran: list[int] = []

    @first.task
    async def ping(n: int) -> None:
        ran.append(n)
        if n:
            await pong.enqueue(n - 1)

    @second.task
    async def pong(n: int) -> None:
        ran.append(n)
        if n:
            await ping.enqueue(n - 1)

    async with first, second:
        await ping.enqueue(5)
        group = WorkerGroup([first, second])
        await group.run(burst=True)
        assert ran == [5, 4, 3, 2, 1, 0]
        assert (group.finished, group.state) == (6, WorkerState.STOPPED)


async def test_states(store_url: str) -> None:
    """The group is ready if all workers are, and stops them together."""
    counter = Counter()
    first, second = queues_with(counter, store_url)
    async with first, second:
        group = WorkerGroup([first, second], name="till")
        assert (group.state, group.is_ready) == (WorkerState.STARTING, False)
        async with group:
            assert (group.state, group.is_ready) == (WorkerState.READY, True)
            assert group.name.count("till-") == 2
            job = await first.enqueue("run")
            await wait_until(lambda: is_true(counter.now == 1), "the job to run")
            group.drain()
            assert (group.state, group.is_ready) == (WorkerState.DRAINING, False)
            counter.gate.set()
            await job
        assert group.state is WorkerState.STOPPED


def test_mistakes() -> None:
    """A group needs queues, each once, and the options of a worker."""
    queue = Queue("memory://")
    for queues, error in (([], "has no queue"), ([queue, queue], "is given twice")):
        with pytest.raises(UsageError, match=error):
            WorkerGroup(queues)
    with pytest.raises(UsageError, match="concurrency=0"):
        WorkerGroup([queue], concurrency=0)
    with pytest.raises(UsageError, match="takes the Queue"):
        WorkerGroup(["app:queue"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="put them in a list"):
        WorkerGroup(queue)  # pyright: ignore[reportArgumentType]


async def is_true(condition: object) -> bool:
    """Return a condition, for `wait_until`."""
    return bool(condition)


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "supervised"])
async def test_command(redis_url: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    """`aiostreamq run` takes several queues; banner, health, signals and drain cover all."""
    orders, mail = Queue(redis_url, name="orders"), Queue(redis_url, name="mail")
    command = ("-m", "aiostreamq", "run", *APP, "--url", redis_url, "--concurrency", "1")
    async with orders, mail, Program(*command, *options) as worker:
        await worker.wait_for_line("mail, lanes default")
        assert "orders, lanes default" in worker.printed
        assert await (await orders.enqueue("place", "ada")) == "sent to ada"
        held = await orders.enqueue("wait_for", str(tmp_path / "gate"))
        await wait_until(lambda: is_running(orders, held.id), "the job to run")
        worker.send_signal(signal.SIGTERM)
        await worker.wait_for_line("draining")
        (tmp_path / "gate").touch()
        assert await worker.wait_end() == 0
        assert await held == str(tmp_path / "gate")


async def is_running(queue: Queue, job_id: str) -> bool:
    """Return whether a job runs."""
    return await queue.job(job_id).status() is JobState.RUNNING


async def test_command_burst(redis_url: str) -> None:
    """A burst of several queues ends when all are empty."""
    orders, mail = Queue(redis_url, name="orders"), Queue(redis_url, name="mail")
    async with orders, mail:
        await orders.enqueue("notify", "ada", 3)
        command = ("-m", "aiostreamq", "run", *APP, "--url", redis_url, "--burst")
        async with Program(*command, "--log-format", "json") as worker:
            assert await worker.wait_end() == 0
        banners = [json.loads(line) for line in worker.lines][:2]
        assert [one["queue"] for one in banners] == ["orders", "mail"]
        for queue in (orders, mail):
            assert (await queue.info()).waiting == 0
