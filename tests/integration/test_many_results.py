"""The results of many jobs: `gather`, `as_completed` and `queue.map`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import pytest

from aiostreamq import (
    AioStreamQError,
    Job,
    JobCancelled,
    JobFailed,
    PayloadError,
    Queue,
    ResultNotKept,
    UsageError,
    WaitTimeout,
    Worker,
    as_completed,
    gather,
)
from aiostreamq.client.results import mapping
from tests.hostile.exceptions import RaisesForAll
from tests.support.waiting import PATIENCE, wait_until

Gates = dict[int, asyncio.Event]


class Gated:
    """A task whose jobs end when the test says so."""

    def __init__(self, queue: Queue) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.gates: Gates = {}
        self.task = queue.task(name="gated")(self.run)

    async def run(self, n: int) -> int:
        """Wait for the gate; odd numbers of hundreds fail."""
        self.started.append(n)
        try:
            await self.gate(n).wait()
        finally:
            self.ended.append(n)
        if n >= 100:
            raise ValueError(str(n))
        return n * n

    def gate(self, n: int) -> asyncio.Event:
        """The gate of job *n*."""
        return self.gates.setdefault(n, asyncio.Event())

    def open(self, *numbers: int) -> None:
        """Let jobs end."""
        for n in numbers:
            self.gate(n).set()


async def open_jobs(queue: Queue) -> list[str]:
    """The ids of jobs that have not ended."""
    return [job.id async for job in queue.jobs(state=("queued", "delayed", "running"))]


async def has_no_open_jobs(queue: Queue) -> bool:
    """Say whether all jobs have ended."""
    return not await open_jobs(queue)


@pytest.fixture
def gated(queue: Queue) -> Gated:
    """A task with gates."""
    return Gated(queue)


async def test_gather_keeps_the_order(queue: Queue, gated: Gated) -> None:
    """Results are in the order of the jobs, whatever the order of their ends."""
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in range(10))
        waiting = asyncio.ensure_future(gather(jobs, timeout=PATIENCE))
        for n in reversed(range(10)):
            gated.open(n)
            await wait_until(lambda n=n: n in gated.ended, f"job {n} to end")
        assert await waiting == [n * n for n in range(10)]
        assert await gather(iter([jobs[3], jobs[3]])) == [9, 9]
        assert await gather([]) == []


async def test_gather_raises_the_first_error(queue: Queue, gated: Gated) -> None:
    """It is raised at once, and the other jobs continue."""
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in (1, 100, 2))
        gated.open(100)
        with pytest.raises(JobFailed, match="100"):
            await gather(jobs, timeout=PATIENCE)
        gated.open(1, 2)
        one, failed, two = await gather(jobs, return_exceptions=True)
        assert (one, two) == (1, 4)
        assert isinstance(failed, JobFailed)


async def test_gather_ends_in_time(queue: Queue, gated: Gated) -> None:
    """A job that has not ended by then is a WaitTimeout, raised or in its place."""
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in (1, 2))
        gated.open(1)
        assert await jobs[0] == 1
        with pytest.raises(WaitTimeout):
            await gather(jobs, timeout=0.01)
        first, second = await gather(jobs, timeout=0.01, return_exceptions=True)
        assert first == 1
        assert isinstance(second, WaitTimeout)
        gated.open(2)
        assert await gather(jobs) == [1, 4]


async def test_cancelled_gather_leaves_the_jobs(queue: Queue, gated: Gated) -> None:
    """Its jobs can be gathered again, and nothing waits for them in between."""
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in (1, 2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gather(jobs), 0.01)
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if ":result:" in task.get_name()]
        gated.open(1, 2)
        assert await gather(jobs) == [1, 4]


async def test_jobs_of_no_result(queue: Queue, gated: Gated) -> None:
    """Each has its own error in its place."""
    async with Worker(queue):
        none = await gated.task.using(result_ttl=0).enqueue(1)
        cancelled = await gated.task.using(delay=3600).enqueue(2)
        await cancelled.cancel()
        found = await gather([none, cancelled], return_exceptions=True)
        assert [type(one) for one in found] == [ResultNotKept, JobCancelled]
        ended = [job async for job in as_completed([none, cancelled])]
        assert {job.id for job in ended} == {none.id, cancelled.id}
        gated.open(1)


async def test_as_completed_is_in_the_order_of_the_ends(queue: Queue, gated: Gated) -> None:
    """Each job comes once, when it has ended, with a result or an error."""
    numbers = [3, 100, 1, 2]
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in numbers)
        found: list[Job[int]] = []
        gated.open(2)
        async with aclosing(as_completed(jobs, timeout=PATIENCE)) as ended:
            async for job in ended:
                found.append(job)
                gated.open(*numbers[: len(found)])
                gated.open(*([1] if len(found) == 3 else []))
        assert found[0] is jobs[3]
        assert {job.id for job in found} == {job.id for job in jobs}
        assert await found[0] == 4


async def test_as_completed_ends_in_time(queue: Queue, gated: Gated) -> None:
    """After those that had ended it raises WaitTimeout."""
    async with Worker(queue, concurrency=20):
        jobs = await queue.enqueue_many(gated.task.bind(n) for n in (1, 2))
        gated.open(1)
        await jobs[0]
        async with aclosing(as_completed(jobs, timeout=0.05)) as ended:
            assert await anext(ended) is jobs[0]
            with pytest.raises(WaitTimeout):
                await anext(ended)
        gated.open(2)


#: Wrong arguments, made from a job, and what the error says.
NOT_JOBS: dict[str, tuple[Callable[[Job[object]], Any], str]] = {
    "one job": (lambda job: job, "this is one"),
    "an id": (lambda job: [job, job.id], "type 'str'"),
    "a coroutine": (lambda job: [job.result()], "type 'coroutine'"),
    "a number": (lambda job: len(job.id), "type 'int'"),
}


@pytest.mark.parametrize("name", NOT_JOBS)
async def test_what_is_not_jobs(queue: Queue, name: str) -> None:
    """It is refused at once, with what was given."""
    job = await queue.enqueue("unknown")
    make, message = NOT_JOBS[name]
    with pytest.raises(UsageError, match=f"gather.*{message}"):
        await gather(make(job))
    with pytest.raises(UsageError, match=f"as_completed.*{message}"):
        as_completed(make(job))


async def each(numbers: Iterable[int]) -> AsyncIterator[int]:
    """Yield numbers, as a source that waits does."""
    for n in numbers:
        await asyncio.sleep(0)
        yield n


@pytest.mark.parametrize("make", [iter, each], ids=["iterable", "async iterable"])
async def test_map_keeps_the_order(queue: Queue, make: Callable[[Iterable[int]], Any]) -> None:
    """All results come in the order of the items, and no more jobs than that are unfinished."""
    at_once = most = 0

    @queue.task
    async def square(n: int) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001 * (n % 5))
        at_once -= 1
        return n * n

    async with Worker(queue, concurrency=50):
        found = [n async for n in queue.map(square, make(range(300)), concurrency=7)]
    assert found == [n * n for n in range(300)]
    assert 1 < most <= 7


async def test_map_takes_items_as_jobs_end(queue: Queue, gated: Gated) -> None:
    """It takes an item when it can be enqueued, and few results are held."""
    taken: list[int] = []

    def endless() -> Iterable[int]:
        for n in range(10_000):
            taken.append(n)
            yield n

    async with Worker(queue, concurrency=50):
        async with aclosing(queue.map(gated.task, endless(), concurrency=3)) as results:
            first = asyncio.ensure_future(anext(results))
            await wait_until(lambda: gated.started == [0, 1, 2], "the first jobs")
            assert taken == [0, 1, 2]
            gated.open(*range(1, 40))
            # The first one holds all: no more than four times three are under way or held.
            await wait_until(lambda: len(taken) == 12, "what is held")
            await wait_until(lambda: len(gated.ended) == 11, "the others to end")
            gated.open(0)
            assert [await first, await anext(results)] == [0, 1]
        await wait_until(lambda: len(gated.started) == len(gated.ended), "the jobs to end")
    assert len(taken) < 20


@pytest.mark.parametrize("how", ["closed", "error", "cancelled"])
async def test_end_of_map_cancels(queue: Queue, gated: Gated, how: str) -> None:
    """The jobs that have not ended are cancelled, also those that no worker has begun."""
    results = queue.map(gated.task, [100, *range(20)], concurrency=10)
    async with Worker(queue, concurrency=4):
        first = asyncio.ensure_future(anext(results))
        await wait_until(lambda: len(gated.started) == 4, "jobs to run")
        if how == "cancelled":
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        else:
            gated.open(100)
            if how == "error":
                with pytest.raises(JobFailed, match="100"):
                    await first
            else:
                first.add_done_callback(lambda done: done.exception())
                await asyncio.wait([first])
                await results.aclose()
        await wait_until(lambda: len(gated.started) == len(gated.ended), "jobs to be cancelled")
        await wait_until(lambda: has_no_open_jobs(queue), "workers to drop cancelled jobs")
    assert len(gated.started) <= 6


class Stubborn:
    """Items that ignore every cancellation until the test is over."""

    def __init__(self, item: int, is_over: asyncio.Event) -> None:
        self.items = [item]
        self.is_over = is_over
        self.is_cancelled = False

    def __aiter__(self) -> "Stubborn":
        return self

    async def __anext__(self) -> int:
        """Return the item; then wait."""
        if self.items:
            return self.items.pop()
        while not self.is_over.is_set():
            try:
                await self.is_over.wait()
            except asyncio.CancelledError:
                self.is_cancelled = True
        raise StopAsyncIteration


async def stubborn_generator(source: Stubborn) -> AsyncIterator[int]:
    """Yield the same, from a generator."""
    async for item in source:
        yield item


@pytest.mark.parametrize("how", ["closed", "error", "cancelled", "cancelled twice"])
@pytest.mark.parametrize(
    ("is_generator", "name"),
    [
        (True, "the asynchronous generator 'stubborn_generator'"),
        (False, "an object of type 'tests.integration.test_many_results.Stubborn'"),
    ],
)
async def test_items_that_ignore_cancellation(
    queue: Queue,
    gated: Gated,
    how: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_generator: bool,
) -> None:
    """The iterator ends all the same, and a warning says whose items these are."""
    monkeypatch.setattr(mapping, "CLEANUP_TIME", 3600 if how == "cancelled twice" else 0.05)
    source = Stubborn(100 if how == "error" else 1, asyncio.Event())
    items = stubborn_generator(source) if is_generator else source
    results = queue.map(gated.task, items)
    async with Worker(queue):
        first = asyncio.ensure_future(anext(results))
        await wait_until(lambda: len(gated.started) == 1, "the job")
        if how.startswith("cancelled"):
            first.cancel()
            if how == "cancelled twice":
                await wait_until(lambda: source.is_cancelled, "the items to see it")
                await wait_until(lambda: not first.cancel(), "the iterator to end")
            with pytest.raises(asyncio.CancelledError):
                await first
        else:
            gated.open(1, 100)
            if how == "error":
                with pytest.raises(JobFailed):
                    await first
            else:
                assert await first == 1
                await results.aclose()
        assert source.is_cancelled
        (line,) = [one.getMessage() for one in caplog.records if "queue.map" in one.message]
        assert f"task 'gated' leaves its items behind: {name} still runs" in line
        named = [one for one in asyncio.all_tasks() if one.get_name() == "aiostreamq:map"]
        assert named == []  # `asyncio.run` does not wait for it
        source.is_over.set()


async def test_items_clean_up_before_the_end(queue: Queue, gated: Gated) -> None:
    """A generator that waits for its next item has cleaned up when the iterator is closed."""
    notes: list[str] = []

    async def items() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            await queue.info()  # takes a while
            notes.append("cleaned up")

    gated.open(1)
    async with Worker(queue), aclosing(queue.map(gated.task, items())) as results:
        assert await anext(results) == 1
    assert notes == ["cleaned up"]


async def test_map_keeps_errors(queue: Queue, gated: Gated) -> None:
    """With `return_exceptions`, each is in the place of its item, that of the enqueue too."""
    gated.open(*range(200))
    items: list[Any] = [1, 100, object(), 2]
    async with Worker(queue):
        found = [
            one async for one in queue.map(gated.task, items, concurrency=2, return_exceptions=True)
        ]
        assert found[0] == 1
        assert isinstance(found[1], JobFailed)
        assert isinstance(found[2], PayloadError)
        assert found[3] == 4
        with pytest.raises(AioStreamQError):
            _ = [one async for one in queue.map(gated.task, items)]


async def test_error_of_the_items(queue: Queue, gated: Gated) -> None:
    """It comes after the results before it, and is raised as it is."""

    def broken() -> Iterable[int]:
        yield 1
        yield 2
        raise LookupError("the items")

    gated.open(1, 2)
    async with Worker(queue), aclosing(queue.map(gated.task, broken())) as results:
        assert [await anext(results), await anext(results)] == [1, 4]
        with pytest.raises(LookupError, match="the items"):
            await anext(results)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, RaisesForAll]
)
async def test_hostile_items(queue: Queue, kind: type[BaseException], is_async: bool) -> None:
    """The items may raise anything: the job gets it, and the worker runs the next one."""

    def items() -> Iterable[int]:
        yield 1
        raise kind

    async def items_async() -> AsyncIterator[int]:
        yield 1
        raise kind

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    @queue.task
    async def run_all() -> int:
        found: list[int] = []
        try:
            async with aclosing(queue.map(double, items_async() if is_async else items())) as some:
                found.extend([result async for result in some])
        except BaseException as error:  # noqa: BLE001  # the error is what is tested
            assert type(error) is kind  # noqa: PT017
        return sum(found)

    async with Worker(queue):
        assert await (await run_all.enqueue()).result(PATIENCE) in {0, 2}
        assert await (await double.enqueue(2)).result(PATIENCE) == 4


async def test_map_that_waits_for_room(store_url: str) -> None:
    """Closing it takes back the calls that wait for room in their lane."""
    async with Queue(store_url, max_length=2, when_full="wait") as queue:
        gated = Gated(queue)
        results = queue.map(gated.task, range(10), concurrency=5)
        first = asyncio.ensure_future(anext(results))

        async def is_full() -> bool:
            return len(await open_jobs(queue)) == 2

        await wait_until(is_full, "the lane to be full")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await open_jobs(queue) == []


async def test_wrong_use_of_map(queue: Queue, gated: Gated) -> None:
    """It is refused before anything is enqueued."""
    other = Queue("memory://", name="other").task(name="gated")(each)
    wrong: Any = gated.run
    with pytest.raises(UsageError, match="not a task"):
        queue.map(wrong, [1])
    with pytest.raises(UsageError, match="id of one job"):
        queue.map(gated.task.using(id="a"), [1])
    with pytest.raises(UsageError, match="keeps no result"):
        queue.map(gated.task.using(result_ttl=0), [1])
    with pytest.raises(UsageError, match="iterable of items"):
        queue.map(gated.task, 7)  # pyright: ignore[reportArgumentType]
    for number in (0, -1, 2.5, True):
        with pytest.raises(UsageError, match="concurrency must be"):
            queue.map(gated.task, [1], concurrency=number)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="belongs to another queue"):
        await anext(queue.map(other, [[1]]))
    assert await open_jobs(queue) == []
