"""What a job says while it runs, and how it is followed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date

import pytest
from redis.asyncio import Redis

from aiostreamq import (
    Chunk,
    Context,
    Event,
    EventsLost,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobRestarted,
    JobTimeout,
    Lost,
    PayloadError,
    Progress,
    Queue,
    QueueUnavailable,
    Restarted,
    ResultNotKept,
    Retry,
    StreamCall,
    StreamJob,
    UsageError,
    Worker,
)
from aiostreamq.worker import job_events as worker_events
from tests.conftest import LeakCheck
from tests.support.waiting import be_in_time


async def test_progress(queue: Queue) -> None:
    """What a task says of itself arrives while it runs, in order, and then its end."""
    heard = asyncio.Event()

    @queue.task
    async def resize(context: Context, count: int) -> int:
        for done in range(count):
            await context.progress(done / count, f"image {done}", left=count - done)
        await heard.wait()
        return count

    async with Worker(queue):
        job = await resize.enqueue(4)
        told: list[Event[object]] = []
        async for event in job.events():
            told.append(event)
            if len(told) == 4:
                heard.set()
        assert await job == 4
    assert told == [Progress(f"1-{n + 1}", n / 4, f"image {n}", {"left": 4 - n}) for n in range(4)]


async def test_streams_in_bulk(queue: Queue) -> None:
    """`enqueue_many` gives jobs that stream, also of calls that options were said for."""

    @queue.task
    async def spell(word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter

    calls = [spell.bind("ab"), spell.using(timeout=5).bind("cd")]
    assert all(isinstance(call, StreamCall) for call in calls)
    async with Worker(queue):
        jobs = await queue.enqueue_many(calls)
        assert [[letter async for letter in job] for job in jobs] == [["a", "b"], ["c", "d"]]


async def test_progress_from_a_thread(queue: Queue) -> None:
    """A `def` task says it without waiting; its last report is always told."""

    @queue.task
    def crunch(context: Context, count: int) -> None:
        for done in range(count + 1):
            context.progress_nowait(done / count)

    async with Worker(queue):
        job = await crunch.enqueue(3_000)
        fractions = [e.fraction async for e in job.events() if isinstance(e, Progress)]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


async def test_progress_of_no_worker() -> None:
    """In a context that a test has made, it says nothing to nobody, and still refuses nonsense."""
    queue = Queue("memory://")
    context = Context("id", "task", 1, 1, queue, "worker")
    await context.progress(0.5)
    context.progress_nowait(0.5, "half")
    with pytest.raises(UsageError, match="give the fraction"):
        await context.progress(50)
    with pytest.raises(PayloadError):
        await context.progress(0.5, thing=object())
    with pytest.raises(PayloadError, match="over the limit"):
        context.progress_nowait(0.5, "x" * 2_000_000)


async def test_chunks(queue: Queue) -> None:
    """What a task yields arrives while it runs, as what it was; the job itself gives None."""
    heard = asyncio.Event()

    @queue.task
    async def days(month: int) -> AsyncIterator[date]:
        yield date(2026, month, 1)
        await heard.wait()
        yield date(2026, month, 2)

    async with Worker(queue):
        job = await days.enqueue(5)
        assert isinstance(job, StreamJob)
        told: list[date] = []
        async for day in job:
            told.append(day)
            heard.set()
        assert told == [date(2026, 5, 1), date(2026, 5, 2)]
        assert await job is None
        assert [day async for day in queue.job(job.id)] == told, "again, by its id"
    assert [day async for day in days(5)] == told, "and it stays a function"


async def test_many_chunks_stay_in_order(queue: Queue) -> None:
    """A generator that never waits leaves the loop to others, and its chunks in their order."""

    @queue.task
    async def count(numbers: int) -> AsyncIterator[int]:
        for number in range(numbers):
            yield number

    async with Worker(queue):
        jobs = [await count.enqueue(9_000) for _ in range(3)]

        async def read(job: StreamJob[int]) -> list[int]:
            return [number async for number in job]

        assert await asyncio.gather(*map(read, jobs)) == [list(range(9_000))] * 3


async def test_resuming(queue: Queue) -> None:
    """Behind any id it goes on with the next, also after the end."""

    @queue.task
    async def count(context: Context, numbers: int) -> AsyncIterator[int]:
        for number in range(numbers):
            await context.progress(number / numbers)
            yield number

    async with Worker(queue):
        job = await count.enqueue(20)
        told = [event async for event in job.events()]
        assert len(told) == 40
        for at, event in enumerate(told):
            rest = [event async for event in queue.job(job.id).events(after=event.id)]
            assert rest == told[at + 1 :]
        with pytest.raises(UsageError, match="is not an event id"):
            _ = [event async for event in job.events(after="; drop")]


async def test_silent_job(queue: Queue) -> None:
    """A job that says nothing just ends, one that fails as awaiting it would."""

    @queue.task
    async def fail_if(is_wrong: bool) -> int:
        if is_wrong:
            raise ValueError("wrong")
        return 1

    async with Worker(queue):
        assert [event async for event in (await fail_if.enqueue(False)).events()] == []
        assert [chunk async for chunk in await fail_if.enqueue(False)] == []
        with pytest.raises(JobFailed, match="wrong"):
            _ = [event async for event in (await fail_if.enqueue(True)).events()]
        with pytest.raises(JobNotFound):
            _ = [event async for event in queue.job("never-was").events()]
        with pytest.raises(ResultNotKept):
            async for _ in await fail_if.using(result_ttl=0).enqueue(False):
                pass


async def test_generator_that_raises(queue: Queue) -> None:
    """What it has yielded comes first, then its error."""

    @queue.task
    async def count(numbers: int) -> AsyncIterator[int]:
        for number in range(numbers):
            yield number
        raise ValueError("enough")

    async with Worker(queue):
        told: list[object] = []
        with pytest.raises(JobFailed, match="enough"):
            await read_into(told, await count.enqueue(1_500))
        assert told == list(range(1_500))


async def test_chunk_that_cannot_travel(queue: Queue) -> None:
    """The job fails, and says why."""

    @queue.task
    async def yield_these(kind: str) -> AsyncIterator[object]:
        yield 1
        yield object() if kind == "object" else "x" * 2_000_000

    async with Worker(queue):
        for kind, told in (("object", "not JSON"), ("long", "over the limit")):
            job = await yield_these.enqueue(kind)
            with pytest.raises(JobFailed, match=told):
                assert [chunk async for chunk in job] == [1]


@pytest.mark.parametrize("cleans_up", [False, True])
async def test_timeout_closes_the_generator(queue: Queue, cleans_up: bool) -> None:
    """Its `finally` is run, wherever it was; what it has yielded is kept."""
    closed: list[str] = []

    @queue.task
    async def count(job: str) -> AsyncIterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
                await asyncio.sleep(0)
        finally:
            if cleans_up:
                await asyncio.sleep(0)
            closed.append(job)

    async def time_out(soon: float) -> list[object]:
        closed.clear()
        told: list[object] = []
        with pytest.raises(JobTimeout):
            await read_into(told, await count.using(timeout=soon).enqueue("one"))
        return told

    async with Worker(queue):
        told = await be_in_time(time_out)
        assert told == list(range(len(told)))
        assert closed == ["one"]


async def test_cancelling_closes_the_generator(queue: Queue) -> None:
    """Whoever follows gets what it has yielded, and then that it was cancelled."""
    closed = asyncio.Event()

    @queue.task
    async def count() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with Worker(queue):
        job = await count.enqueue()
        events = job.events()
        assert await anext(events) == Chunk("1-1", 1)
        await job.cancel()
        with pytest.raises(JobCancelled):
            await anext(events)
        assert closed.is_set()


async def test_run_that_is_retried(queue: Queue) -> None:
    """Whoever follows learns that all comes again, and from where to continue."""
    heard = asyncio.Event()

    @queue.task(retry=Retry(2, backoff=[0.01]))
    async def count(context: Context, numbers: int) -> AsyncIterator[int]:
        if context.attempt == 2:
            await heard.wait()
        for number in range(numbers):
            yield number * context.attempt
        if context.attempt == 1:
            raise ValueError("again")

    async with Worker(queue):
        job = await count.enqueue(2)
        told: list[Event[int]] = []
        async for event in job.events():
            told.append(event)
            if event.id == "1-2":
                heard.set()
        assert told == [
            Chunk("1-1", 0),
            Chunk("1-2", 1),
            Restarted("2-0", 2),
            Chunk("2-1", 0),
            Chunk("2-2", 2),
        ]
        assert [event async for event in job.events()] == told[3:], "who comes late sees one run"
        assert [event async for event in job.events(after="1-1")] == told[2:]


async def test_iterating_over_a_run_that_is_retried(queue: Queue) -> None:
    """The chunks of two runs are never mixed: whoever iterates is told, and begins anew."""
    heard = asyncio.Event()

    @queue.task(retry=Retry(2, backoff=[0.01]))
    async def count(context: Context, numbers: int) -> AsyncIterator[int]:
        if context.attempt == 2:
            await heard.wait()
        for number in range(numbers):
            yield number
        if context.attempt == 1:
            raise ValueError("again")

    async with Worker(queue):
        job = await count.enqueue(3)
        chunks = aiter(job)
        assert [await anext(chunks) for _ in range(3)] == [0, 1, 2]
        heard.set()
        with pytest.raises(JobRestarted) as caught:
            await anext(chunks)
        assert caught.value.job_id == job.id
        rest = [event async for event in job.events(after=caught.value.after)]
        assert rest == [Chunk(f"2-{n + 1}", n) for n in range(3)]
        assert [number async for number in job] == [0, 1, 2]


async def test_reader_that_is_too_slow(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dropped before it was read is counted, not skipped in silence."""
    monkeypatch.setattr(worker_events, "KEPT_EVENTS", 2_000)
    total = 60_000

    @queue.task
    async def count(numbers: int) -> AsyncIterator[int]:
        for number in range(numbers):
            yield number

    async with Worker(queue):
        job = await count.enqueue(total)
        async with aclosing(job.events()) as events:
            told: list[Event[int]] = [await anext(events)]
            await job
            told += [event async for event in events]
        seen = [event.value for event in told if isinstance(event, Chunk)]
        lost = [event for event in told if isinstance(event, Lost)]
        assert len(lost) == 1
        assert len(seen) + lost[0].count == total
        assert seen[-2_000:] == list(range(total - 2_000, total)), "as many as are kept"
        gap = int(lost[0].id.partition("-")[2])
        assert seen == [*range(gap - lost[0].count), *range(gap, total)]

        with pytest.raises(EventsLost) as caught:
            _ = [number async for number in job]
        rest = job.events(after=caught.value.after)
        late = [event.value async for event in rest if isinstance(event, Chunk)]
        assert caught.value.count + len(late) == total


async def test_large_chunks(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds in bytes too, and the latest chunk is always there."""
    monkeypatch.setattr(worker_events, "KEPT_BYTES", 300_000)

    @queue.task
    async def blow(count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{number}" * 100_000

    async with Worker(queue):
        job = await blow.enqueue(9)
        await job
        told = [event async for event in job.events()]
        assert isinstance(told[0], Lost)
        assert 1 <= len(told) - 1 <= 3
        assert isinstance(told[-1], Chunk)
        assert told[-1].value == "8" * 100_000


async def test_stopping_early(queue: Queue) -> None:
    """Whoever stops leaves nothing behind, and takes nothing from others who follow."""
    go_on = asyncio.Event()

    @queue.task
    async def count() -> AsyncIterator[int]:
        yield 1
        await go_on.wait()
        yield 2

    async with Worker(queue):
        job = await count.enqueue()
        reading = asyncio.create_task(collect(job))
        for _ in range(3):
            async with aclosing(job.events()) as events:
                assert await anext(events) == Chunk("1-1", 1)
        cancelled = asyncio.create_task(collect(job))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        go_on.set()
        assert await reading == [1, 2]


async def test_queue_is_closed(redis_url: str) -> None:
    """Whoever still follows is told, and so is who begins then."""
    async with Queue(redis_url) as queue:

        @queue.task
        async def count() -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        async with Worker(queue, shutdown_timeout=0):
            job = await count.enqueue()
            heard = asyncio.Event()

            async def follow(job: Job[object]) -> None:
                async for _ in job:
                    heard.set()

            async with Queue(redis_url) as other:
                elsewhere = other.job(job.id)
                following = asyncio.create_task(follow(elsewhere))
                await heard.wait()
            with pytest.raises(QueueUnavailable, match="closed"):
                await following
            with pytest.raises(QueueUnavailable, match="closed"):
                await collect(elsewhere)


async def read_into(told: list[object], job: Job[object]) -> None:
    """Read a job to its end, and keep what came before an error."""
    async for chunk in job:
        told.append(chunk)  # noqa: PERF401  # a comprehension would lose it


async def collect(job: Job[object]) -> list[object]:
    """Read a job to its end."""
    return [chunk async for chunk in job]


async def test_a_thousand_followers_share_a_connection(redis_url: str, client: Redis) -> None:
    """Each gets its own job's chunks, over one connection for all."""
    go_on = asyncio.Event()

    async with Queue(redis_url) as queue:

        @queue.task
        async def twice(n: int) -> AsyncIterator[int]:
            yield n
            await go_on.wait()
            yield n

        async with Worker(queue, concurrency=1_000):
            jobs = [await twice.enqueue(n) for n in range(1_000)]
            reading = [asyncio.create_task(collect(job)) for job in jobs]
            go_on.set()
            assert await asyncio.gather(*reading) == [[n, n] for n in range(1_000)]
            names = [one["name"] for one in await client.client_list()]
            assert names.count("aiostreamq:events") == 1


async def test_no_keys_are_left(redis_url: str, client: Redis, assert_no_leaks: LeakCheck) -> None:
    """What a job says expires a little after its result; a job that says nothing has no key."""
    async with Queue(redis_url) as queue:

        @queue.task(result_ttl="10m")
        async def count(context: Context, numbers: int) -> AsyncIterator[int]:
            await context.progress(0)
            for number in range(numbers):
                yield number

        @queue.task(result_ttl=0)
        async def unkept(context: Context) -> None:
            await context.progress(1)

        @queue.task
        async def silent(context: Context) -> str:
            return context.task

        async with Worker(queue):
            talking, quiet = await count.enqueue(3), await silent.enqueue()
            await unkept.enqueue()
            assert [number async for number in talking] == [0, 1, 2]
            await quiet
        prefix = "aiostreamq:{default}:events:"
        ttl = await client.pttl(prefix + talking.id)
        assert 600_000 < ttl <= 660_000
        assert ttl > await client.pttl(f"aiostreamq:{{default}}:result:{talking.id}")
        assert not await client.exists(prefix + quiet.id)
        await assert_no_leaks(client)
