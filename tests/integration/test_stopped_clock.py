"""The clock of a test: hours pass in milliseconds, each moment in its order."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fakeredis
import pytest

from aiostreamq import JobNotFound, JobState, Queue, Retry, UsageError, Worker, clock
from aiostreamq.client.core import core_of
from aiostreamq.store.schedule_replies import Page
from aiostreamq.store.schedules import ScheduleStore
from aiostreamq.testing import Clock, IsolatedQueue, isolated
from tests.support.waiting import PATIENCE

START = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)

app = Queue("redis://127.0.0.1:1", name="app")
seen: list[tuple[str, float]] = []


def note(name: str) -> None:
    """Note when something happens, in minutes since the start."""
    seen.append((name, (clock.wall() - START.timestamp()) // 6 / 10))


@app.task(retry=Retry(attempts=4, backoff=["1m", "10m", "1h"], jitter=False))
async def fail() -> None:
    """Fail, and be retried."""
    note("fail")
    raise ValueError


@app.task
async def work() -> None:
    """Be done."""
    note("work")


@app.task
async def sleep(seconds: float) -> None:
    """Take time."""
    await asyncio.sleep(seconds)
    note("slept")


@app.task(timeout="5m")
async def outstay() -> None:
    """Run past the timeout."""
    try:
        await asyncio.sleep(3600)
    finally:
        note("stopped")


@app.task
def block() -> None:
    """Take real time, in a thread."""
    time.sleep(0.05)
    note("block")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was seen."""
    seen.clear()


@pytest.fixture
async def test() -> AsyncIterator[IsolatedQueue]:
    """The application's queue."""
    async with isolated(app) as test:
        yield test


@pytest.fixture
def now(test: IsolatedQueue) -> Clock:
    """A clock that begins at a known time."""
    return test.stop_clock(START)


async def enqueue_retries() -> None:
    """Enqueue what fails."""
    await fail.enqueue()


async def enqueue_delays() -> None:
    """Enqueue for later, in another order."""
    for minutes in (90, 10, 30):
        await work.using(delay=minutes * 60).enqueue()


async def enqueue_sleeps() -> None:
    """Enqueue what sleeps as long as two, and what is stopped."""
    await sleep.enqueue(5400)
    await outstay.enqueue()


async def enqueue_blocking() -> None:
    """Enqueue what runs in a thread before time passes."""
    await block.enqueue()
    await block.using(delay="1m").enqueue()


@pytest.mark.parametrize(
    ("enqueue", "expected"),
    [
        (enqueue_retries, [("fail", 0), ("fail", 1), ("fail", 11), ("fail", 71)]),
        (enqueue_delays, [("work", 10), ("work", 30), ("work", 90)]),
        (enqueue_sleeps, [("stopped", 5), ("slept", 90)]),
        (enqueue_blocking, [("block", 0), ("block", 1)]),
    ],
)
@pytest.mark.parametrize("steps", [["2h"], [7, "30s", timedelta(hours=1), "58m", 120]])
async def test_each_happens_at_its_moment(
    now: Clock, enqueue: Callable[[], object], expected: list[object], steps: list[object]
) -> None:
    """Whether time passes at once or in steps."""
    await enqueue()  # pyright: ignore[reportGeneralTypeIssues]
    for step in steps:
        await now.advance(step)  # pyright: ignore[reportArgumentType]
    assert seen == expected


async def test_schedules_fire_in_order() -> None:
    """Each tick once, and the jobs of each before the next."""
    queue = Queue(name="scheduled")

    @queue.cron("0 * * * *")
    async def hourly() -> None:
        note("hourly")
        await child.enqueue()

    @queue.every("90m")
    async def often() -> None:
        note("often")

    @queue.task
    async def child() -> None:
        note("child")

    async with isolated(queue) as test:
        now = test.stop_clock(START)
        await now.advance("24h")
    hours = [("hourly", 30 + 60 * hour) for hour in range(24)]
    assert [one for one in seen if one[0] == "hourly"] == hours
    assert [at for name, at in seen if name == "child"] == [at for _, at in hours]
    assert [at for name, at in seen if name == "often"] == [60 + 90 * n for n in range(16)]
    assert [at for _, at in seen] == sorted(at for _, at in seen)


async def test_results_and_jobs_expire(now: Clock, test: IsolatedQueue) -> None:
    """By the clock, to the second."""
    kept = await work.using(result_ttl="10m").enqueue()
    await test.run_all()
    late = await work.using(expires="20m", delay="1h").enqueue()
    await now.advance("9m")
    assert await kept.status() is JobState.DONE
    await now.advance("61s")
    with pytest.raises(JobNotFound):
        await kept.status()
    await now.advance("1h")
    assert await late.status() is JobState.EXPIRED


async def test_time_stands_still(now: Clock, test: IsolatedQueue) -> None:
    """Except for what a job takes that `run_all` runs."""
    await asyncio.to_thread(time.sleep, 0.02)
    assert now.now == START
    assert (await app.info()).at == START
    await sleep.enqueue(3600)
    await sleep.using(delay="3h").enqueue(1)
    assert [run.state for run in await test.run_all()] == [JobState.DONE]
    assert timedelta(hours=1) <= now.now - START < timedelta(hours=1, seconds=2)
    await now.advance_to(START + timedelta(hours=2))
    assert now.now == START + timedelta(hours=2)


async def test_own_worker_of_a_test(now: Clock) -> None:
    """Runs what is due without any time, and ends without any."""
    async with app, Worker(app):
        await (await work.enqueue()).result(timeout=PATIENCE)
    assert now.now == START


async def test_job_that_runs_on(now: Clock) -> None:
    """It ends with a later advance, and its worker takes no new job."""
    job = await sleep.enqueue(3000)
    await now.advance("10m")
    waiting = await work.enqueue()
    await asyncio.sleep(0)
    assert (await job.status(), await waiting.status()) == (JobState.RUNNING, JobState.QUEUED)
    await now.advance("40m")
    assert (await job.status(), await waiting.status()) == (JobState.DONE, JobState.DONE)


@pytest.mark.parametrize("is_used_before", [False, True])
async def test_frozen(*, is_used_before: bool) -> None:
    """Tasks see this time too, if the test asks for it."""
    queue = Queue(name="frozen")

    @queue.task
    async def when() -> float:
        return time.time()

    @queue.task
    def when_in_thread() -> datetime:
        return datetime.now(UTC)

    async with isolated(queue) as test:
        if is_used_before:
            await test.run_all()
        now = test.stop_clock(START, frozen=True)
        await when.using(delay="1h").enqueue()
        later = await when_in_thread.using(delay="2h").enqueue()
        await now.advance("2h")
        assert await later == START + timedelta(hours=2)
        assert datetime.now(UTC) == now.now
        assert abs(time.time() - now.now.timestamp()) < 0.001
    assert abs(datetime.now(UTC) - START) > timedelta(days=1)


async def test_one_look_for_each_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that fires a tick knows the next one, and does not ask for it."""
    queue = Queue(name="ticks")
    looks: list[int] = []
    real = ScheduleStore.due

    async def due(self: ScheduleStore, declared: Sequence[str], skip: int = 0) -> Page:
        looks.append(skip)
        return await real(self, declared, skip)

    @queue.every(0.1)
    async def tick() -> None:
        pass

    async with isolated(queue) as test:
        clock = test.stop_clock(START)
        await clock.advance(1)
        monkeypatch.setattr(ScheduleStore, "due", due)
        before = len(test.runs)
        await clock.advance(1)
        assert len(test.runs) - before == 10
        assert len(looks) <= 12  # one more when the worker starts


async def test_composes_with_time_machine() -> None:
    """A clock that begins inside of one begins with its time."""
    import time_machine

    with time_machine.travel(START, tick=False):
        async with isolated(app) as test:
            assert test.stop_clock().now == START


async def test_refusals(now: Clock, test: IsolatedQueue, redis_url: str) -> None:
    """Each with its reason."""
    with pytest.raises(UsageError, match="stopped already"):
        test.stop_clock()
    with pytest.raises(UsageError, match="is over"):
        await now.advance_to(START - timedelta(seconds=1))
    with pytest.raises(UsageError, match="not a duration"):
        await now.advance("soon")
    both = await asyncio.gather(now.advance(1), now.advance(1), return_exceptions=True)
    assert [type(one) for one in both] == [type(None), UsageError]
    async with isolated(Queue(name="real"), redis_url) as real:
        with pytest.raises(UsageError, match="real Redis"):
            real.stop_clock()


def test_wait_without_an_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of hanging."""
    monkeypatch.setattr("aiostreamq.testing.stopped_loop.STALL", 0.05)

    async def wait() -> None:
        async with isolated(app) as test:
            test.stop_clock()
            await asyncio.sleep(1)

    with pytest.raises(UsageError, match="time stands still"):
        asyncio.run(wait())


async def test_time_passes_again() -> None:
    """When the queue is not isolated any more, also for timers that were set before."""
    async with isolated(app) as test:
        now = test.stop_clock()
        timer = asyncio.ensure_future(asyncio.sleep(3600.01))
        await now.advance("1h")
    await timer
    assert abs(clock.wall() - time.time()) < PATIENCE


async def test_works_in_one_loop_after_another() -> None:
    """As the loops of two tests are."""

    async def one() -> None:
        async with isolated(app) as test:
            now = test.stop_clock()
            await work.using(delay="1h").enqueue()
            await now.advance("1h")
            assert len(test.runs) == 1

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, one())


#: Calls that ask for the time: fakeredis must do it through a name of the module `time`.
ASKS = re.compile(r"from time import|datetime\.(now|utcnow)|time\.(time_ns|monotonic_ns|gmtime)")


def test_nothing_in_memory_goes_around() -> None:
    """All of fakeredis that asks for the time asks the clock."""
    folder = Path(fakeredis.__file__).parent
    found = [path.name for path in folder.rglob("*.py") if ASKS.search(path.read_text())]
    assert found == []


async def test_redis_in_memory_has_the_time(now: Clock) -> None:
    """Its TIME, the ids of its streams, and its expiries."""
    store = core_of(app).session().store
    assert await store.call("TIME") == [b"%d" % START.timestamp(), b"0"]
    assert str(await store.call("XADD", "s", "*", "a", "b")).startswith(
        f"b'{int(START.timestamp() * 1000)}-"
    )
    await store.call("SET", "k", "v", "PX", 1500)
    await now.advance(1.499)
    assert await store.call("PTTL", "k") == 1
    await now.advance(0.002)
    assert await store.call("GET", "k") is None
