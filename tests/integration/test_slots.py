"""Jobs that await other jobs of their queue: they lend their slots, so that those can run."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

import pytest

from aiostreamq import Context, Job, Queue, Retry, Worker
from aiostreamq.worker.run import slots
from tests.support.waiting import PATIENCE, wait_until

Make = Callable[[Queue], None]


def directly(queue: Queue) -> None:
    """The parent awaits one child after the other."""

    @queue.task
    async def parent(number: int) -> int:
        first = await queue.enqueue("child", number)
        second = await queue.enqueue("child", number)
        return int(str(await first)) + int(str(await second))


def together(queue: Queue) -> None:
    """It awaits both at once, in tasks of its own."""

    @queue.task
    async def parent(number: int) -> int:
        jobs = [await queue.enqueue("child", number) for _ in range(2)]
        return sum(int(str(one)) for one in await asyncio.gather(*jobs))


def with_timeout(queue: Queue) -> None:
    """It waits again and again, each time for a moment."""

    @queue.task
    async def parent(number: int) -> int:
        found = 0
        for job in [await queue.enqueue("child", number) for _ in range(2)]:
            while True:
                try:
                    found += int(str(await job.result(timeout=0.05)))
                    break
                except TimeoutError:
                    continue
        return found


def from_a_thread(queue: Queue) -> None:
    """It is a `def`, and the child too: they need threads as well."""
    loop = asyncio.get_running_loop()

    @queue.task
    def parent(number: int) -> int:
        async def ask() -> int:
            return int(str(await (await queue.enqueue("child_in_thread", number))))

        return sum(asyncio.run_coroutine_threadsafe(ask(), loop).result() for _ in range(2))


def through_another_handle(queue: Queue) -> None:
    """It knows the child by its id alone."""

    @queue.task
    async def parent(number: int) -> int:
        ids = [(await queue.enqueue("child", number)).id for _ in range(2)]
        return sum([int(str(await queue.job(one))) for one in ids])


WAYS = (directly, together, with_timeout, from_a_thread, through_another_handle)


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("make", WAYS, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize(("parents", "concurrency"), [(3, 1), (100, 2), (20, 50)])
async def test_children_get_to_run(
    queue: Queue, make: Make, parents: int, concurrency: int
) -> None:
    """Any number of parents come to their end, with few slots, and few threads.

    Their children are behind all of them in the lane, and threads are fewer than slots, or more.
    """

    @queue.task
    async def child(number: int) -> int:
        return number

    @queue.task
    def child_in_thread(number: int) -> int:
        return number

    make(queue)
    jobs = await queue.enqueue_many(queue.named("parent").bind(n) for n in range(parents))
    async with Worker(queue, concurrency=concurrency, threads=2, shutdown_timeout=1):
        ends = [await job.result(timeout=PATIENCE) for job in jobs]
    assert ends == [2 * n for n in range(parents)]


@pytest.mark.parametrize(("concurrency", "depth"), [(1, 1), (2, 3), (4, 7)])
async def test_grandchildren(queue: Queue, concurrency: int, depth: int) -> None:
    """Each generation lends its slot to the next, as long as there are slots to lend."""

    @queue.task
    async def descend(depth: int) -> int:
        if depth == 0:
            return 0
        return 1 + await (await descend.enqueue(depth - 1))

    async with Worker(queue, concurrency=concurrency, shutdown_timeout=1):
        assert await (await descend.enqueue(depth)).result(timeout=PATIENCE) == depth


@pytest.mark.parametrize(("concurrency", "number"), [(1, 2), (4, 5)])
async def test_a_task_that_awaits_its_own_kind(queue: Queue, concurrency: int, number: int) -> None:
    """Some of its jobs await others and some do not, and nobody knows which."""

    @queue.task
    async def fib(number: int) -> int:
        if number < 2:
            return number
        jobs = [await fib.enqueue(number - back) for back in (1, 2)]
        return sum(await asyncio.gather(*jobs))

    async with Worker(queue, concurrency=concurrency, shutdown_timeout=1):
        found = await (await fib.enqueue(number)).result(timeout=PATIENCE)
    assert found == [0, 1, 1, 2, 3, 5][number]


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_a_child_starts_late(
    queue: Queue, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parents that have taken every slot before a child is there do not keep it from starting.

    The child comes after the pause before its second attempt, when more than all slots wait.
    """
    monkeypatch.setattr(slots, "STANDSTILLS", (0.01, 0.01))
    loop = asyncio.get_running_loop()

    async def ask(number: int) -> int:
        return int(str(await (await queue.enqueue("child", number))))

    def parent_in_thread(number: int) -> int:
        return asyncio.run_coroutine_threadsafe(ask(number), loop).result()

    retry = Retry(2, backoff=[0.5], jitter=False)
    if executor == "loop":
        queue.task(name="parent")(ask)

        @queue.task(retry=retry)
        async def child(context: Context, number: int) -> int:
            if context.attempt == 1:
                raise OSError
            return number
    else:
        queue.task(name="parent")(parent_in_thread)

        @queue.task(retry=retry, name="child")
        def child_in_thread(context: Context, number: int) -> int:
            if context.attempt == 1:
                raise OSError
            return number

    jobs = await queue.enqueue_many(queue.named("parent").bind(n) for n in range(6))
    async with Worker(queue, concurrency=1, threads=1, shutdown_timeout=1):
        assert [await job.result(timeout=PATIENCE) for job in jobs] == list(range(6))


async def test_no_more_run_than_may(queue: Queue) -> None:
    """Beside those that wait, no more jobs run than there are slots."""
    now, most = 0, 0

    @queue.task
    async def child() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    @queue.task
    async def parent() -> None:
        await asyncio.gather(*[await child.enqueue() for _ in range(20)])

    async with Worker(queue, concurrency=3, shutdown_timeout=1):
        await asyncio.gather(*[await parent.enqueue() for _ in range(3)])
    assert most <= 3


async def test_waiting_slots_are_logged(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """The log says when all slots wait, and when none is left to lend."""
    never = asyncio.Event()

    @queue.task
    async def child() -> None:
        await never.wait()

    def parent_of(child: str) -> Callable[[], Coroutine[None, None, None]]:
        async def run() -> None:
            await (await queue.enqueue(child))

        return run

    for number in range(6):
        below = f"parent{number + 1}" if number < 5 else "child"
        queue.task(name=f"parent{number}")(parent_of(below))
    async with Worker(queue, concurrency=2, shutdown_timeout=0):
        await queue.enqueue("parent0")
        await wait_until(lambda: "2 of 2 slots wait for jobs of this queue" in caplog.text, "it")
        await wait_until(lambda: "5 of 5 slots wait for jobs of this queue" in caplog.text, "it")
    levels = {record.levelno for record in caplog.records if "slots wait" in record.message}
    assert levels == {logging.WARNING, logging.ERROR}


async def test_a_task_left_behind_lends_nothing(queue: Queue) -> None:
    """What continues after the run was over has no slot to lend."""
    left: list[asyncio.Task[object]] = []
    now, most = 0, 0

    @queue.task
    async def never() -> None:
        await asyncio.Event().wait()

    @queue.task
    async def leave_behind() -> None:
        left.append(asyncio.create_task(wait_later(await queue.enqueue("never"))))

    async def wait_later(job: Job[object]) -> object:
        await note_job.enqueue()
        return await job

    @queue.task
    async def note_job() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    async with Worker(queue, concurrency=3, shutdown_timeout=0):
        await (await leave_behind.enqueue()).result(timeout=PATIENCE)
        await asyncio.gather(*[await note_job.enqueue() for _ in range(50)])
        assert most <= 2, "one of three slots has the job that never ends"
        for task in left:
            task.cancel()
