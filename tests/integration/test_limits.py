"""Tasks with limits, with real workers. Nothing here is found by looking again: see conftest."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from aiostreamq import (
    Concurrency,
    Drop,
    GiveUp,
    Job,
    JobError,
    JobState,
    Queue,
    Rate,
    Retry,
    RetryLater,
    Task,
    Unique,
    UsageError,
    Worker,
)
from tests.support.waiting import PATIENCE, wait_until


class Gate:
    """Counts the bodies that run at once by key, and lets them continue when heard."""

    def __init__(self) -> None:
        self.running = Counter[str]()
        self.most = Counter[str]()
        self.began: list[object] = []
        self.is_open = asyncio.Event()

    async def run(self, key: str, what: object = None) -> None:
        """Be a body."""
        self.running[key] += 1
        self.most[key] = max(self.most[key], self.running[key])
        self.began.append(what)
        try:
            await self.is_open.wait()
            await asyncio.sleep(0)
        finally:
            self.running[key] -= 1


@pytest.fixture
def gate() -> Gate:
    """Closed."""
    return Gate()


def sync_on(
    queue: Queue, gate: Gate, *limits: Concurrency | Rate, **options: Any
) -> Task[..., int]:
    """Register a task with limits."""

    @queue.task(limits=limits or [Concurrency(2, key="tenant")])
    async def sync(tenant: str, page: int) -> int:
        await gate.run(tenant, page)
        return page

    return sync


async def all_of(jobs: list[Job[int]]) -> list[int]:
    """Await jobs, for as long as a machine may take."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*jobs)


async def test_no_more_than_the_limit_run_at_once(store_url: str, gate: Gate) -> None:
    """For any number of workers and slots; and all run."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate)
    gate.is_open.set()
    async with queue, Worker(queue), Worker(queue), Worker(queue, concurrency=1):
        calls = [sync.bind(tenant, page) for page in range(40) for tenant in "abc"]
        jobs = await queue.enqueue_many(calls)
        assert Counter(await all_of(jobs)) == dict.fromkeys(range(40), 3)
    assert max(gate.most.values()) == 2


async def test_waiting_jobs_take_no_slot(store_url: str, gate: Gate) -> None:
    """Jobs of other keys and tasks continue, and no worker waits in a worker."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate)

    @queue.task
    async def plain() -> int:
        return 7

    async with queue, Worker(queue, concurrency=3):
        jobs = await queue.enqueue_many([sync.bind("a", page) for page in range(20)])
        await wait_until(lambda: gate.running["a"] == 2, "two to run")
        assert await (await plain.enqueue()).result(timeout=PATIENCE) == 7
        states = Counter([await job.status() for job in jobs])
        assert states == {JobState.RUNNING: 2, JobState.HELD: 18}
        gate.is_open.set()
        await all_of(jobs)
    assert gate.began == [*range(20)], "in their order"


async def test_limits_of_one_name_are_shared(store_url: str, gate: Gate) -> None:
    """Two tasks that name the same limit run no more together."""
    queue = Queue(store_url)
    limit = Concurrency(3, name="database")

    @queue.task(limits=[limit])
    async def load(page: int) -> int:
        await gate.run("all")
        return page

    @queue.task(limits=[limit, Concurrency(1)])
    async def rebuild(page: int) -> int:
        await gate.run("all")
        return page

    gate.is_open.set()
    async with queue, Worker(queue):
        calls = [task.bind(page) for page in range(15) for task in (load, rebuild)]
        await all_of(await queue.enqueue_many(calls))
    assert gate.most["all"] <= 3


async def test_rate(store_url: str) -> None:
    """Starts are spread over the time; Redis counts them, so the worker adds what it takes."""
    queue = Queue(store_url)
    loop, starts = asyncio.get_running_loop(), list[float]()

    @queue.task(limits=[Rate("50/s", burst=1)])
    async def ping(number: int) -> int:
        starts.append(loop.time())
        return number

    async with queue, Worker(queue):
        jobs = [await ping.enqueue(number) for number in range(10)]
        assert await all_of(jobs) == [*range(10)]
    assert starts[-1] - starts[0] >= 9 * 0.02 - 0.02, "the last charge came nine intervals later"
    assert all(later >= earlier for earlier, later in pairwise(starts))


async def test_costs(store_url: str) -> None:
    """A rate is charged what a job costs; a cost of nothing passes always."""
    queue = Queue(store_url)

    @queue.task(limits=[Rate("100/d", cost="tokens")])
    async def ask(tokens: int) -> int:
        return tokens

    async with queue, Worker(queue):
        jobs = [await ask.enqueue(tokens) for tokens in (60, 40)]
        assert await all_of(jobs) == [60, 40]
        late = await ask.enqueue(1)
        free = await ask.enqueue(0)
        assert await late.status() == JobState.HELD
        assert await free.status() == JobState.HELD, "those behind one that waits keep their order"
        await late.cancel()
        assert await free.result(timeout=PATIENCE) == 0


ENDS: dict[str, tuple[Callable[[], None], type[JobError] | None]] = {}


def ending(error: type[JobError] | None) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Note a way for a body to end."""

    def note(body: Callable[[], None]) -> Callable[[], None]:
        ENDS[body.__name__] = body, error
        return body

    return note


@ending(None)
def returns() -> None:
    """Return."""


@ending(JobError)
def fails() -> None:
    """Fail."""
    raise ValueError("no tea")


@ending(JobError)
def drops() -> None:
    """End without a result."""
    raise Drop("not now")


@ending(JobError)
def gives_up() -> None:
    """Become a dead letter."""
    raise GiveUp("never")


@ending(JobError)
def retries_for_good() -> None:
    """Have it run again until no attempt is left."""
    raise RetryLater(0)


@ending(JobError)
def retries_a_little_later() -> None:
    """The same, with a pause."""
    raise RetryLater(0.001)


@ending(JobError)
def exits() -> None:
    """Try to end the worker."""
    raise SystemExit(3)


@pytest.mark.parametrize("end", ENDS)
async def test_each_end_lets_the_next_one_start(store_url: str, end: str) -> None:
    """However a job ends, its permit returns, and a worker hears of it."""
    queue, (body, error) = Queue(store_url), ENDS[end]

    @queue.task(limits=[Concurrency(1)], retry=Retry(attempts=3, backoff=[0]))
    async def run(page: int) -> int:
        body()
        return page

    async with queue, Worker(queue, concurrency=5):
        for job in await queue.enqueue_many([run.bind(page) for page in range(6)]):
            if error is None:
                await job.result(timeout=PATIENCE)
            else:
                with pytest.raises(error):
                    await job.result(timeout=PATIENCE)


async def test_timeout_and_cancel_return_permits(store_url: str, gate: Gate) -> None:
    """So do ends that come from outside, of running and of held jobs."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate, Concurrency(1))
    async with queue, Worker(queue):
        first = await sync.using(timeout=timedelta(milliseconds=1)).enqueue("a", 1)
        second, third, fourth = [await sync.enqueue("a", page) for page in (2, 3, 4)]
        with pytest.raises(JobError):
            await first.result(timeout=PATIENCE)
        await wait_until(lambda: 2 in gate.began, "the second to start")
        assert await third.cancel() == JobState.HELD
        assert await third.status() == JobState.CANCELLED
        assert await second.cancel() == JobState.RUNNING
        await wait_until(lambda: 4 in gate.began, "the fourth to start")
        gate.is_open.set()
        assert await fourth.result(timeout=PATIENCE) == 4
    assert 3 not in gate.began


WAYS: dict[str, Callable[[Task[[str, int], int]], Awaitable[Job[int]]]] = {
    "delayed": lambda sync: sync.using(delay=0.001).enqueue("a", 7),
    "unique": lambda sync: sync.using(unique=Unique(key="page")).enqueue("a", 7),
    "with options": lambda sync: sync.using(result_ttl=60).enqueue("a", 7),
}


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_into_the_queue_is_limited(store_url: str, gate: Gate, way: str) -> None:
    """A job that came by a lane waits, too, and in its place."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate, Concurrency(1))
    async with queue, Worker(queue):
        first = await sync.enqueue("a", 1)
        await wait_until(lambda: gate.running["a"] == 1, "the first to run")
        second = await WAYS[way](sync)

        async def is_held() -> bool:
            return await second.status() == JobState.HELD

        await wait_until(is_held, "the second to be held")
        gate.is_open.set()
        assert await all_of([first, second]) == [1, 7]
    assert gate.most["a"] == 1


async def test_producer_that_knows_only_the_name(store_url: str, gate: Gate) -> None:
    """Its jobs are held by the worker that reads them: it knows the limits."""
    queue, other = Queue(store_url), Queue(store_url)
    sync_on(queue, gate, Concurrency(1, key="tenant"))

    @other.task(name="sync")
    async def remote(tenant: str, page: int) -> int: ...

    async with queue, other, Worker(queue):
        jobs = [await remote.enqueue("a", page) for page in range(5)]
        await wait_until(lambda: gate.running["a"] == 1, "one to run")
        gate.is_open.set()
        assert await all_of(jobs) == [*range(5)]
    assert gate.most["a"] == 1


async def test_limit_is_added_to_a_task_with_jobs_waiting(store_url: str, gate: Gate) -> None:
    """Jobs that were enqueued without it, or held by another, pass it as well."""
    before, after = Queue(store_url), Queue(store_url)
    old = sync_on(before, gate, Concurrency(50))
    sync_on(after, gate, Concurrency(50), Concurrency(2, key="tenant"))
    gate.is_open.set()
    async with before, after:
        jobs = [await old.enqueue("a", page) for page in range(20)]
        async with Worker(after):
            assert await all_of(jobs) == [*range(20)]
    assert gate.most["a"] <= 2


async def test_limits_are_removed_from_a_task_with_jobs_waiting(store_url: str, gate: Gate) -> None:
    """Jobs that are held keep the limits that they came with, and run on workers without them."""
    before, after = Queue(store_url), Queue(store_url)
    old = sync_on(before, gate, Concurrency(2, key="tenant"))

    @after.task
    async def sync(tenant: str, page: int) -> int:
        await gate.run(tenant, page)
        return page

    gate.is_open.set()
    async with before, after:
        async with Worker(before):
            assert await (await old.enqueue("b", 0)).result(timeout=PATIENCE) == 0
        jobs = [await old.enqueue("a", page) for page in range(9)]
        async with Worker(after):
            assert await all_of(jobs) == [*range(9)]
            assert await (await sync.enqueue("a", 9)).result(timeout=PATIENCE) == 9
    assert gate.most["a"] == 2


@pytest.mark.parametrize("most", [1, 5])
async def test_rule_of_the_newest_release_is_in_force(
    store_url: str, gate: Gate, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes with the first worker of that release, and an old one does not take it back."""
    old, new = Queue(store_url), Queue(store_url)
    sync = sync_on(old, gate, Concurrency(3))
    sync_on(new, gate, Concurrency(most))
    async with old, new:
        async with Worker(old):
            pass
        async with Worker(new):
            pass
        async with Worker(old, concurrency=10):
            assert "a newer release has set" in caplog.text
            jobs = [await sync.enqueue("a", page) for page in range(8)]
            await wait_until(lambda: gate.running["a"] == most, "that many to run")
            gate.is_open.set()
            await all_of(jobs)
    assert gate.most["a"] == most


async def test_raised_limit_lets_jobs_go_that_wait(store_url: str, gate: Gate) -> None:
    """They need no end of another job."""
    old, new = Queue(store_url), Queue(store_url)
    sync = sync_on(old, gate, Concurrency(1, key="tenant"))
    sync_on(new, gate, Concurrency(3, key="tenant"))
    async with old, new, Worker(old):
        jobs = [await sync.enqueue("a", page) for page in range(4)]
        await wait_until(lambda: gate.running["a"] == 1, "one to run")
        async with Worker(new):
            await wait_until(lambda: gate.running["a"] == 3, "three to run")
            gate.is_open.set()
            await all_of(jobs)


@pytest.mark.parametrize("what", ["task", "lane"])
async def test_paused_jobs_stay_held(store_url: str, gate: Gate, what: str) -> None:
    """They start when it is resumed."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate)
    unit = {"task": "sync"} if what == "task" else {"lane": "default"}
    gate.is_open.set()
    async with queue, Worker(queue):
        await queue.pause(**unit)
        jobs = [await sync.enqueue("a", page) for page in range(4)]
        assert {await job.status() for job in jobs} == {JobState.HELD}
        assert gate.began == []
        await queue.resume(**unit)
        assert await all_of(jobs) == [*range(4)]


async def test_workers_of_different_tasks(store_url: str, gate: Gate) -> None:
    """The one that is woken may not know the task whose limit has room: the other hears of it."""
    sides = [Queue(store_url), Queue(store_url)]
    tasks: list[Task[[int], int]] = []
    for name, queue in zip("ab", sides, strict=True):

        @queue.task(name=name, limits=[Concurrency(1)])
        async def run(page: int, name: str = name) -> int:
            await gate.run(name)
            return page

        tasks.append(run)
    gate.is_open.set()
    async with sides[0], sides[1], Worker(sides[0]), Worker(sides[1]), Worker(sides[1]):
        jobs = [await task.enqueue(page) for page in range(20) for task in tasks]
        assert await all_of(jobs) == [page for page in range(20) for _ in tasks]
    assert gate.most == {"a": 1, "b": 1}


async def test_worker_that_stops_gives_its_permits_back(store_url: str, gate: Gate) -> None:
    """Another one runs what it had, and what waited."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate, Concurrency(2))
    async with queue:
        async with Worker(queue, shutdown_timeout=0.01):
            jobs = [await sync.enqueue("a", page) for page in range(5)]
            await wait_until(lambda: gate.running["a"] == 2, "two to run")
        gate.is_open.set()
        async with Worker(queue):
            assert await all_of(jobs) == [*range(5)]
    assert gate.most["a"] == 2


async def test_burst_runs_what_the_limits_let_through(store_url: str, gate: Gate) -> None:
    """It ends when nothing is left, and not before."""
    queue = Queue(store_url)
    sync = sync_on(queue, gate, Concurrency(1, key="tenant"))
    gate.is_open.set()
    async with queue:
        jobs = [await sync.enqueue(tenant, page) for page in range(6) for tenant in "ab"]
        async with asyncio.timeout(PATIENCE):
            await Worker(queue).run(burst=True)
        assert {await job.status() for job in jobs} == {JobState.DONE}
    assert gate.most == {"a": 1, "b": 1}


async def test_key_that_cannot_be_found_in_a_worker(store_url: str) -> None:
    """A function that raises there stops neither the worker nor the job."""
    queue, other = Queue(store_url), Queue(store_url)

    def key(page: int) -> str:
        raise SystemExit(page)

    @queue.task(limits=[Concurrency(1, key=key)])
    async def run(page: int) -> int:
        return page

    @other.task(name="run")
    async def plain(page: int) -> int: ...

    async with queue, other, Worker(queue):
        jobs = [await plain.enqueue(page) for page in range(3)]
        assert await all_of(jobs) == [0, 1, 2]
    assert run.name == "run"


@pytest.mark.parametrize(
    "options", [{"limits": [Concurrency(1)]}, {"limits": [Rate("1/s")]}, {"ordered": "page"}]
)
async def test_declared_while_a_worker_runs(store_url: str, options: dict[str, Any]) -> None:
    """It is refused: the worker, which does not know the rule, would let all pass."""
    queue = Queue(store_url)

    async def late(page: int) -> None:
        pass

    async with queue:
        async with Worker(queue):
            with pytest.raises(UsageError, match="declare the task before the worker starts"):
                queue.task(**options)(late)
            queue.task(name="plain")(late)
        queue.task(**options)(late)
