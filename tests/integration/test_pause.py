"""Pausing tasks and lanes, with real workers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from aiostreamq import JobState, Pause, Queue, UsageError, Worker
from tests.support.waiting import PATIENCE, wait_until


class Shop:
    """A queue of two lanes and two tasks that note what ran."""

    def __init__(self, url: str) -> None:
        self.queue = queue = Queue(url, lanes={"default": 2, "slow": 1})
        self.ran: list[int] = []
        self.ran_at: dict[int, datetime] = {}

        @queue.task
        async def one(n: int) -> None:
            self.note(n)

        @queue.task(lane="slow")
        async def other(n: int) -> None:
            self.note(n)

        self.one, self.other = one, other

    def note(self, n: int) -> None:
        """Run."""
        self.ran.append(n)
        self.ran_at[n] = datetime.now(UTC)


@pytest.fixture
async def shop(store_url: str) -> Shop:
    """Closed, and empty."""
    return Shop(store_url)


async def test_task(shop: Shop) -> None:
    """Its jobs wait from now on, others run; resumed, they run in their order."""
    async with shop.queue as queue, Worker(queue, concurrency=1), Worker(queue, concurrency=1):
        await queue.pause(task=shop.one)
        held = [await shop.one.enqueue(n) for n in range(20)]
        await (await shop.other.enqueue(100))
        assert shop.ran == [100]
        assert await queue.paused() == [Pause(task="one")]
        assert {await job.status() for job in held} <= {
            JobState.PARKED,
            JobState.RUNNING,  # on its way to be set aside
            JobState.QUEUED,
        }
        assert await queue.resume(task="one")
        for job in held:
            await job.result(timeout=PATIENCE)
        assert sorted(shop.ran) == [*range(20), 100]
        assert not await queue.resume(task="one")
        assert await queue.paused() == []


async def test_order_of_a_task(shop: Shop) -> None:
    """One worker sets its jobs aside, and takes them up again, as they came."""
    async with shop.queue as queue, Worker(queue, concurrency=1):
        await queue.pause(task="one")
        held = [await shop.one.enqueue(n) for n in range(50)]

        async def are_parked() -> bool:
            return {await job.status() for job in held} == {JobState.PARKED}

        await wait_until(are_parked, "all to be set aside")
        await queue.resume(task="one")
        for job in held:
            await job.result(timeout=PATIENCE)
        assert shop.ran == [*range(50)]


async def test_lane(shop: Shop) -> None:
    """It is not read; the jobs in it wait where they are, in their order."""
    async with shop.queue as queue:
        async with Worker(queue, concurrency=1):
            await (await shop.other.enqueue(100))
            await queue.pause(lane="slow")
            held = [await shop.other.enqueue(n) for n in range(20)]
            await (await shop.one.enqueue(101))
            assert shop.ran == [100, 101]
            assert await queue.paused() == [Pause(lane="slow")]

            async def wait() -> bool:
                return {await job.status() for job in held} == {JobState.QUEUED}

            await wait_until(wait, "those that were fetched to be put back")
            assert await queue.resume(lane="slow")
            for job in held:
                await job.result(timeout=PATIENCE)
        assert sorted(shop.ran) == [*range(20), 100, 101]


async def test_only_lane(queue: Queue) -> None:
    """With its one lane paused, a worker sleeps until it is resumed: then it reads at once."""
    ran: list[int] = []

    @queue.task
    async def note(n: int) -> None:
        ran.append(n)

    await queue.pause(lane="default")
    async with Worker(queue):
        jobs = [await note.enqueue(n) for n in range(5)]
        later = await note.using(delay=0.01).enqueue(5)

        async def is_due() -> bool:
            return await later.status() is JobState.QUEUED

        await wait_until(is_due, "the delayed job to be due")
        assert ran == []
        await queue.resume(lane="default")
        for job in (*jobs, later):
            await job.result(timeout=PATIENCE)
        assert ran == [*range(6)]


async def test_restart(shop: Shop) -> None:
    """It stays paused for workers that start later; nothing is lost in between."""
    async with shop.queue as queue:
        await queue.pause(task="one", lane="slow")
        jobs = [await shop.one.enqueue(1), await shop.other.enqueue(2)]
        await Worker(queue).run(burst=True)
        await Worker(queue).run(burst=True)
        assert shop.ran == []
        assert await queue.paused() == [Pause(task="one"), Pause(lane="slow")]
        await queue.resume(task="one", lane="slow")
        await Worker(queue).run(burst=True)
        assert [await job.status() for job in jobs] == [JobState.DONE] * 2
        assert sorted(shop.ran) == [1, 2]


async def test_until(shop: Shop) -> None:
    """It continues by itself when its time has come, with workers that sleep."""
    async with shop.queue as queue, Worker(queue):
        await queue.pause(lane="slow", until="1s")
        await queue.pause(task="one", until=datetime.now(UTC) + timedelta(seconds=1))
        jobs = [await shop.other.enqueue(1), await shop.one.enqueue(2)]
        ends = {pause.lane or pause.task: pause.until for pause in await queue.paused()}
        for job in jobs:
            await job.result(timeout=PATIENCE)
        assert await queue.paused() == []
        # A machine that was busy for that second has not seen the pause.
        for n, name in ((1, "slow"), (2, "one")):
            end = ends.get(name, datetime.min.replace(tzinfo=UTC))
            assert end is not None
            assert shop.ran_at[n] >= end - timedelta(milliseconds=50)


async def test_work_in_flight_goes_on(shop: Shop) -> None:
    """What runs is left alone."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @shop.queue.task
    async def hold() -> int:
        started.set()
        await go_on.wait()
        return 7

    async with shop.queue as queue, Worker(queue):
        job = await hold.enqueue()
        await started.wait()
        await queue.pause(task=hold, lane="default")
        go_on.set()
        assert await job.result(timeout=PATIENCE) == 7


async def test_mistakes(shop: Shop) -> None:
    """Each is told with what to write instead."""
    async with shop.queue as queue:
        with pytest.raises(UsageError, match="specify task= or lane="):
            await queue.pause()
        with pytest.raises(UsageError, match="has no lane 'fast'"):
            await queue.pause(lane="fast")
        with pytest.raises(UsageError, match="'returned' is reserved"):
            await queue.pause(lane="returned")
        with pytest.raises(UsageError, match=r"until=.* has no time zone"):
            await queue.pause(task="one", until=datetime(2030, 1, 1))  # noqa: DTZ001  # the mistake
        with pytest.raises(UsageError, match="until=0 would pause nothing"):
            await queue.pause(task="one", until=0)
        with pytest.raises(UsageError, match="specify which jobs"):
            await queue.cancel_many()
        with pytest.raises(UsageError, match="only jobs that have not ended"):
            await queue.cancel_many(state=JobState.DONE)


@pytest.mark.heavy_in_memory
async def test_cancel_many(shop: Shop) -> None:
    """Jobs are found wherever they wait or run, by task, state and age."""
    started = asyncio.Event()

    @shop.queue.task
    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    async with shop.queue as queue:
        async with Worker(queue):
            runs = await hang.enqueue()
            await started.wait()
            await queue.pause(lane="default")
            await queue.pause(lane="slow")
            waits = [await shop.one.enqueue(n) for n in range(300)]
            others = [await shop.other.enqueue(n) for n in range(3)]
            later = [
                *[await shop.one.using(delay="1h").enqueue(n) for n in range(3)],
                *await queue.enqueue_many(
                    shop.other.using(at=datetime(2100, 1, 1, tzinfo=UTC)).bind(n)
                    for n in range(500)
                ),
                await shop.other.using(id="mine", delay="1h").enqueue(1),
            ]

            async def wait() -> bool:
                states = {await job.status() for job in (*waits, *others)}
                return states == {JobState.QUEUED}

            await wait_until(wait, "those that were fetched to be put back")
            assert await queue.cancel_many(older_than="1h") == dict.fromkeys(
                (
                    JobState.DELAYED,
                    JobState.HELD,
                    JobState.PARKED,
                    JobState.QUEUED,
                    JobState.RUNNING,
                ),
                0,
            )
            assert await queue.cancel_many(task=shop.one, state=JobState.QUEUED) == {
                JobState.QUEUED: 300
            }
            assert {await job.status() for job in waits} == {JobState.CANCELLED}
            assert [await job.status() for job in others] == [JobState.QUEUED] * 3
            assert await queue.cancel_many(state=[JobState.DELAYED], task="other") == {
                JobState.DELAYED: 501
            }
            assert [await job.status() for job in later[:3]] == [JobState.DELAYED] * 3
            assert await queue.cancel_many(state=JobState.RUNNING) == {JobState.RUNNING: 1}

            async def is_cancelled() -> bool:
                return await runs.status() is JobState.CANCELLED

            await wait_until(is_cancelled, "its end")
            parked = await queue.enqueue("unheard_of")
            await queue.resume(lane="default")

            async def is_parked() -> bool:
                return await parked.status() is JobState.PARKED

            await wait_until(is_parked, "it to be set aside")
            assert (await queue.cancel_many(task="unheard_of"))[JobState.PARKED] == 1
        caught = await queue.cancel_many(everything=True)
        assert caught == {
            JobState.DELAYED: 3,
            JobState.HELD: 0,
            JobState.PARKED: 0,
            JobState.QUEUED: 3,
            JobState.RUNNING: 0,
        }
        assert shop.ran == []
