"""`queue.job_page` and `queue.history`: jobs by pages and filters, and ends by the minute."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest

from aiostreamq import JobInfo, JobState, Queue, UsageError, Worker
from tests.support.waiting import wait_until

NUMBERS = 7


class Shop:
    """A queue with jobs in every state."""

    def __init__(self, url: str) -> None:
        self.queue = queue = Queue(url, name="paged", lanes=["default", "slow"])
        self.go = asyncio.Event()

        @queue.task(tags=["tagged"])
        async def add(number: int, text: str = "") -> int:
            return number

        @queue.task(lane="slow")
        async def fail(number: int) -> None:
            raise (ValueError if number % 2 else KeyError)(f"no {number}")

        @queue.task
        async def hold(number: int) -> None:
            await self.go.wait()

        self.add, self.fail, self.hold = add, fail, hold

    async def fill(self, state: JobState) -> list[str]:
        """Have jobs in a state; return their ids in the order of a listing."""
        queue = self.queue
        match state:
            case JobState.QUEUED:
                jobs = [await self.add.enqueue(number) for number in range(NUMBERS)]
                jobs += [await self.fail.enqueue(number) for number in range(NUMBERS)]
            case JobState.DELAYED:
                due = datetime.now(UTC) + timedelta(hours=1)  # all at one time
                jobs = [await self.add.using(at=due).enqueue(n) for n in range(NUMBERS)]
                jobs.append(await self.add.using(delay="2h").enqueue(0))
                return [*sorted(job.id for job in jobs[:-1]), jobs[-1].id]
            case JobState.PARKED:
                jobs = [await queue.enqueue(f"unknown{n % 2}", n) for n in range(NUMBERS)]
                await Worker(queue).run(burst=True)
                by_task = sorted(range(NUMBERS), key=lambda n: (n % 2, n))
                return [jobs[n].id for n in by_task]
            case JobState.FAILED:
                jobs = [await self.fail.enqueue(number) for number in range(NUMBERS)]
                await Worker(queue, concurrency=1).run(burst=True)
                return [job.id for job in reversed(jobs)]
            case _:
                jobs = [await self.add.enqueue(number) for number in range(NUMBERS)]
                await Worker(queue, concurrency=1).run(burst=True)
                return [job.id for job in reversed(jobs)]
        return [job.id for job in jobs]

    async def pages(self, state: JobState, limit: int, **filters: str) -> list[JobInfo]:
        """Return the jobs of all pages."""
        found: list[JobInfo] = []
        after, pages = None, 0
        read = partial(self.queue.job_page, state, limit=limit, **cast("Any", filters))
        while True:
            page = await read(after=after)
            assert len(page.jobs) <= limit <= page.searched or page.after is None
            found += page.jobs
            after, pages = page.after, pages + 1
            assert pages < 100
            if after is None:
                return found


@pytest.fixture
async def shop(store_url: str) -> AsyncIterator[Shop]:
    """An empty queue, on a real Redis and in memory."""
    shop = Shop(store_url)
    async with shop.queue:
        yield shop


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(
    "state", [JobState.QUEUED, JobState.DELAYED, JobState.PARKED, JobState.FAILED, JobState.DONE]
)
async def test_pages_have_each_job_once(shop: Shop, state: JobState, limit: int) -> None:
    """Each job comes once, in the order of a listing, with pages of any size."""
    ids = await shop.fill(state)
    found = await shop.pages(state, limit)
    assert [job.id for job in found] == ids
    assert {job.state for job in found} == {state}


async def test_running_jobs(shop: Shop) -> None:
    """Running jobs are paged too, with the worker that has them."""
    jobs = [await shop.hold.enqueue(number) for number in range(NUMBERS)]
    async with Worker(shop.queue, concurrency=NUMBERS) as worker:

        async def are_running() -> bool:
            return (await shop.queue.info()).running == NUMBERS

        await wait_until(are_running, "the jobs to run")
        found = await shop.pages(JobState.RUNNING, 2)
        assert {job.id for job in found} == {job.id for job in jobs}
        assert {job.worker for job in found} == {worker.name}
        shop.go.set()


async def test_filters(shop: Shop) -> None:
    """Task, lane, tag, error and text each choose jobs, also over several pages."""
    await shop.fill(JobState.QUEUED)
    wanted = await shop.add.enqueue(77, text="Ada Lovelace")
    queued = JobState.QUEUED
    assert len(await shop.pages(queued, 2, task="fail")) == NUMBERS
    assert {job.task for job in await shop.pages(queued, 2, lane="slow")} == {"fail"}
    assert len(await shop.pages(queued, 2, tag="tagged")) == NUMBERS + 1
    for text in ("lovelace", "LOVE", "77", '"text":"ada'):
        assert [job.id for job in await shop.pages(queued, 2, contains=text)] == [wanted.id]
    assert await shop.pages(queued, 2, contains="nothing") == []
    await Worker(shop.queue).run(burst=True)
    failed = await shop.pages(JobState.FAILED, 2, error="ValueError")
    assert {job.error for job in failed} == {f"ValueError: no {n}" for n in range(NUMBERS) if n % 2}
    assert len(await shop.pages(JobState.FAILED, 2, error="builtins.KeyError")) == 0


async def test_search_is_bounded(shop: Shop) -> None:
    """A page looks at a number of jobs, says how many, and continues after them."""
    await shop.fill(JobState.QUEUED)
    page = await shop.queue.job_page("queued", contains="nothing", searched=5)
    assert (page.jobs, page.searched) == ((), 5)
    assert page.after is not None
    page = await shop.queue.job_page("queued", contains="nothing", after=page.after)
    assert (page.searched, page.after) == (2 * NUMBERS - 5, None)
    page = await shop.queue.job_page("queued", contains="nothing", timeout=0, limit=3)
    assert page.searched == 3


@pytest.mark.parametrize(
    ("state", "after"),
    [
        ("queued", "default"),
        ("queued", "nolane~1-0"),
        ("queued", "default~x"),
        ("delayed", "~x"),
        ("delayed", "~1-x"),
        ("done", "~1-0"),
        ("done", "~1-0:x"),
        ("failed", "~x"),
    ],
)
async def test_invalid_place_is_refused(shop: Shop, state: str, after: str) -> None:
    """A place comes from a URL: what is not one is an error that says so."""
    if after == "default":
        assert (await shop.queue.job_page(state, after=after)).jobs == ()
        return
    with pytest.raises(UsageError, match="after="):
        await shop.queue.job_page(state, after=after)


async def test_one_state_is_given(shop: Shop) -> None:
    """A page has one state, and a limit that shows something."""
    for wrong in ("nowhere", ["queued", "done"]):
        with pytest.raises(UsageError, match="state"):
            await shop.queue.job_page(wrong)  # pyright: ignore[reportArgumentType]  # on purpose
    with pytest.raises(UsageError, match="limit"):
        await shop.queue.job_page("queued", limit=0)


async def test_history(shop: Shop) -> None:
    """It has each minute of the window, with its ends and how long they took, by task too."""
    await shop.fill(JobState.QUEUED)
    await Worker(shop.queue).run(burst=True)
    minutes = await shop.queue.history(window="10m")
    assert len(minutes) == 11
    assert [b.at - a.at for a, b in itertools.pairwise(minutes)] == [timedelta(minutes=1)] * 10
    ended = [minute for minute in minutes if minute.ended]
    assert sum(minute.ended.get(JobState.DONE, 0) for minute in ended) == NUMBERS
    assert sum(minute.ended.get(JobState.FAILED, 0) for minute in ended) == NUMBERS
    assert all(minute.run_latency and minute.wait_latency for minute in ended)
    of_add = await shop.queue.history(window="10m", task=shop.add)
    assert sum(sum(minute.ended.values()) for minute in of_add) == NUMBERS
    with pytest.raises(UsageError, match="window"):
        await shop.queue.history(window="4h")


async def test_result_is_shown(shop: Shop) -> None:
    """The record of a job that is done has its result."""
    job = await shop.add.enqueue(5)
    await Worker(shop.queue).run(burst=True)
    assert (await job.info()).result == 5
