"""Streams over what breaks: the network, Redis, workers, whoever reads."""

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq import Chunk, Context, Event, Job, JobFailed, Queue, Restarted, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.results import Results
from aiostreamq.worker import job_events
from tests.integration import stream_app
from tests.support.processes import Program, worker_program
from tests.support.proxy import Proxy
from tests.support.random_examples import scaled
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

TARGET = "tests.integration.stream_app:queue"


@asynccontextmanager
async def streams(url: str, *, workers: int = 1) -> AsyncGenerator[list[Program], None]:
    """The queue of `stream_app`, open here, with workers that are processes of their own.

    Their lease is short, but not so that one is taken for dead whom its machine has held up.
    """
    stream_app.queue.use_url(url)
    async with AsyncExitStack() as stack:
        running: list[Program] = []
        for _ in range(workers):
            program = worker_program(url, "--lease", "3", target=TARGET)
            running.append(await stack.enter_async_context(program))
            await program.wait_for_line("tasks (")
        await stack.enter_async_context(stream_app.queue)
        yield running


def values(told: list[Event[int]]) -> list[int]:
    """The values of the chunks."""
    return [event.value for event in told if isinstance(event, Chunk)]


async def test_from_another_process(redis_url: str) -> None:
    """Whoever has the id can follow, and continue behind what somebody else has read."""
    async with streams(redis_url):
        job = await stream_app.count.enqueue(3_000)
        told = [event async for event in job.events()]
        assert values(told) == list(range(3_000))
        async with Queue(redis_url, name="streams") as elsewhere:
            rest = [event async for event in elsewhere.job(job.id).events(after=told[999].id)]
        assert rest == told[1_000:]


async def test_worker_is_killed(redis_url: str) -> None:
    """The job runs again elsewhere; whoever follows is told, and then gets all of it."""
    async with streams(redis_url, workers=2) as workers:
        job = await stream_app.stall.enqueue(5)
        told: list[Event[int]] = []
        async for event in job.events():
            told.append(event)
            if len(told) == 5:
                owner = await owner_of(job)
                (victim,) = [p for p in workers if f"-{p.pid}-" in owner]
                victim.send_signal(signal.SIGKILL)
        first = [Chunk(f"1-{n + 1}", n) for n in range(5)]
        again = [Chunk(f"2-{n + 1}", n) for n in range(5)]
        assert told == [*first, Restarted("2-0", 2), *again]


async def owner_of(job: Job[object]) -> str:
    """The name of the worker that runs a job."""
    return await Results(core_of(stream_app.queue).session().store).owner_of(job.id) or ""


async def test_redis_restarts() -> None:
    """With an append-only file nothing is lost, and nothing comes twice."""
    with RedisServer(appendonly=True) as server:
        async with streams(server.url):
            job = await stream_app.count.enqueue(1_000, 0.002)
            told: list[Event[int]] = []
            async for event in job.events():
                told.append(event)
                if len(told) in {100, 300}:
                    server.kill()
                    server.start()
            assert values(told) == list(range(1_000))
            assert len(told) == 1_000


@pytest.mark.usefixtures("second_looks")
async def test_worker_is_cut_off_from_redis(proxy: Proxy, redis_url: str) -> None:
    """What it says in between waits, the generator with it, and all arrives once."""
    count, produced = 8_000, 0
    cut = asyncio.Event()

    async with Queue(proxy.url) as queue, Queue(redis_url) as elsewhere:

        @queue.task
        async def numbers() -> AsyncIterator[int]:
            nonlocal produced
            for number in range(count):
                produced = number
                yield number
                if number == 10:
                    await cut.wait()

        async with Worker(queue):
            job = await numbers.enqueue()
            told = elsewhere.job(job.id).events()
            first = [await anext(told) for _ in range(11)]
            proxy.refuse()
            proxy.cut()
            cut.set()
            await wait_until(lambda: produced >= job_events.MOST_UNSENT, "it to be full")
            for _ in range(100):
                await asyncio.sleep(0)
            # Some are on their way, and as many wait behind those.
            assert produced <= 2 * job_events.MOST_UNSENT + 20, "the generator waits"
            await proxy.accept()
            rest = [event async for event in told]
    assert [*first, *rest] == [Chunk(f"1-{n + 1}", n) for n in range(count)]


async def test_worker_stops(redis_url: str) -> None:
    """What it hands back runs again elsewhere, and whoever follows is told."""
    heard = asyncio.Event()
    closed: list[int] = []

    async with Queue(redis_url) as queue:

        @queue.task
        async def numbers(context: Context) -> AsyncIterator[int]:
            try:
                for number in range(3):
                    yield number
                if context.delivery == 1:
                    heard.set()
                    await asyncio.Event().wait()
            finally:
                closed.append(context.delivery)

        job = await numbers.enqueue()

        async def follow() -> list[Event[int]]:
            return [event async for event in job.events()]

        following = asyncio.create_task(follow())
        async with Worker(queue, shutdown_timeout=0):
            await heard.wait()
        assert closed == [1], "the generator was closed"
        async with Worker(queue):
            told = await following
    first = [Chunk(f"1-{n + 1}", n) for n in range(3)]
    again = [Chunk(f"2-{n + 1}", n) for n in range(3)]
    assert told in ([*first, Restarted("2-0", 2), *again], again), "as soon as the reader was"


async def test_redis_is_full(own_redis_server: RedisServer) -> None:
    """A stream with a hole fails its job; a report that is lost fails none."""
    is_full = asyncio.Event()

    async with Queue(own_redis_server.url) as queue:

        @queue.task
        async def numbers() -> AsyncIterator[int]:
            yield 0
            await is_full.wait()
            for number in range(1, 5_000):
                yield number

        @queue.task
        async def report(context: Context) -> str:
            await is_full.wait()
            await context.progress(0.5)
            return "done"

        async with Worker(queue):
            streaming, reporting = await numbers.enqueue(), await report.enqueue()
            events = streaming.events()
            assert await anext(events) == Chunk("1-1", 0)
            own_redis_server.ask("CONFIG", "SET", "maxmemory", "1")
            is_full.set()
            with pytest.raises(JobFailed, match="OOM"):
                await anext(events)
            assert await reporting == "done"
            assert [event async for event in reporting.events()] == []


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("second_looks")
@settings(
    max_examples=scaled(8),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_random_cuts(redis_server: RedisServer, seed: int) -> None:
    """Wherever connections break, on either side, the reader sees the sequence as it was.

    Now and then the reader itself goes away too, and another goes on behind the last id.
    """
    asyncio.run(follow_over_cuts(redis_server, random.Random(seed)))


async def follow_over_cuts(server: RedisServer, draw: random.Random) -> None:
    """Stream 2,000 chunks through a proxy that cuts, and compare."""
    count = 2_000
    server.flush()
    async with Proxy(server.port) as proxy, Queue(proxy.url) as queue:

        @queue.task
        async def numbers(seed: int) -> AsyncIterator[int]:
            pace = random.Random(seed)
            for number in range(count):
                yield number
                if pace.random() < 0.2:
                    await asyncio.sleep(0)

        async with Worker(queue):
            job = await numbers.enqueue(draw.randrange(1_000))
            told: list[Event[int]] = []
            after: str | None = None
            is_over = False
            while not is_over:
                async with aclosing(job.events(after)) as events:
                    is_over = True
                    async for event in events:
                        told.append(event)
                        after = event.id
                        spoil(proxy, draw)
                        if draw.random() < 0.01:
                            is_over = False
                            break
    assert told == [Chunk(f"1-{number + 1}", number) for number in range(count)]


def spoil(proxy: Proxy, draw: random.Random) -> None:
    """Cut connections, now and then, at once or in the middle of a reply."""
    match draw.randrange(400):
        case 0:
            proxy.cut()
        case 1:
            proxy.cut_after(draw.randrange(2_000))
        case 2:
            proxy.drop_replies(1, to=b"EVALSHA")
        case _:
            pass
