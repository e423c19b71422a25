"""Garbage where jobs, calls and notices are expected: nobody stops, and no job is lost for it."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis

from aiostreamq import Job, JobError, Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.keys import GROUP
from aiostreamq.store.workers import WorkerRegistry
from tests.chaos import garbage
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

# pydantic looks for its plugins when first used, once in a process: before anyone watches.
TypeAdapter(set[int])

#: How much there is of each.
ENTRIES = sized(short=6_000, long=100_000)
NOTICES = sized(short=2_000, long=20_000)

#: What goes to Redis at a time, and how many jobs of our own go with it.
BATCH = 1_000
OWN = 10

PREFIX = "aiostreamq:{default}:"
# The overflow is read when a worker says that there is something, which a stranger does not.
STREAMS = ("stream:default", "stream:slow", "stream:returned")
TASKS = ("echo", "echo", "typed", "broken", "blocking", "unknown", "unknown.too")


class Watch(logging.Filter):
    """Keeps what tells of a fault of ours, and lets nothing else fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at one record."""
        is_of_a_job = record.msg.startswith("job failed")  # those that are to fail
        is_fault = (
            record.exc_info or record.levelno >= logging.CRITICAL or "Traceback" in record.msg
        )
        if is_fault and not is_of_a_job:
            self.faults.append(logging.Formatter().format(record))
        return False


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What the log says of faults of ours; it must be nothing."""
    watch = Watch()
    loggers = [
        logging.getLogger(name) for name in ("aiostreamq.worker", "aiostreamq.redis", "asyncio")
    ]
    for logger in loggers:
        logger.addFilter(watch)
    yield watch
    for logger in loggers:
        logger.removeFilter(watch)
    assert not watch.faults, f"{len(watch.faults)} faults, the first: {watch.faults[0]}"


@pytest.fixture
def rng() -> random.Random:
    """Chance; pytest-randomly says at the top how to get the same again."""
    return random.Random(random.random())


@pytest.fixture
async def client(own_redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The stranger."""
    async with Redis.from_url(own_redis_server.unix_url) as client:
        yield client


@pytest.fixture
async def queue(own_redis_server: RedisServer) -> AsyncIterator[Queue]:
    """A queue with tasks of several kinds."""
    queue = Queue(own_redis_server.unix_url, lanes=["default", "slow"])

    @queue.task(name="echo")
    async def echo(value: object) -> object:
        return value

    @queue.task(name="typed")
    async def typed(at: datetime, number: int = 0) -> datetime:
        return at

    @queue.task(name="broken")
    async def broken(value: object = None) -> None:
        raise ValueError(value)

    @queue.task(name="blocking")
    def blocking(value: object) -> object:
        return value

    async with queue:
        yield queue


@pytest.mark.timeout(300)
async def test_stream_entries(
    queue: Queue, client: Redis, rng: random.Random, watch: Watch
) -> None:
    """Every entry is run, parked or a dead letter; the jobs among them end as they should."""
    jobs: list[Job[object]] = []
    usurped: list[Job[object]] = []
    async with Worker(queue, concurrency=50):
        for _ in range(ENTRIES // BATCH):
            fresh = [await queue.enqueue("echo", len(jobs) + place) for place in range(OWN)]
            jobs += fresh
            usurped.append(await queue.enqueue("echo", 0))
            await write_entries(client, rng, fresh, usurped[-1])
            await die_with_some(client, WorkerRegistry(core_of(queue).session().store))
        assert await asyncio.wait_for(asyncio.gather(*jobs), 60) == list(range(len(jobs)))
        # Whoever writes a good call under the id of a job has it answered. But it is answered.
        ends = await asyncio.wait_for(asyncio.gather(*usurped, return_exceptions=True), 60)
        assert [end for end in ends if isinstance(end, Exception | JobError)] == [
            end for end in ends if isinstance(end, JobError)
        ]
        await wait_until(lambda: is_drained(client), "all entries to be dealt with", timeout=60)
        assert await (await queue.enqueue("echo", "still there")) == "still there"
        commands = await commands_in_a_second(client)
        assert commands < 2_000, "a worker with nothing to do asks on and on"
    await check_leftovers(client)
    fates = [await client.xlen(PREFIX + "dead"), await client.xlen(PREFIX + "parked:unknown")]
    fates.append(len(await client.keys(PREFIX + "result:stranger-*")))
    assert min(fates) > ENTRIES // 200, f"too little of something: {fates}"


@pytest.mark.timeout(120)
async def test_notices(queue: Queue, client: Redis, rng: random.Random, watch: Watch) -> None:
    """Who awaits gets the outcome that is kept, whatever came through the inbox before."""
    jobs = [await queue.enqueue("echo", number) for number in range(200)]
    awaits = [asyncio.ensure_future(job.result()) for job in jobs]
    inbox = f"{PREFIX}inbox:{core_of(queue).session().waiter.inbox}"
    ids = [job.id.encode() for job in jobs]
    for _ in range(NOTICES // BATCH):
        async with client.pipeline(transaction=False) as pipeline:
            for _ in range(BATCH):
                pipeline.rpush(inbox, garbage.notice(rng, rng.choice(ids)))
            await pipeline.execute()

    async def is_read() -> bool:
        return not await client.exists(inbox)

    await wait_until(is_read, "all notices to be read", timeout=60)
    assert not any(waiting.done() for waiting in awaits)
    async with Worker(queue):
        values = await asyncio.wait_for(asyncio.gather(*awaits), 60)
    assert values == list(range(len(jobs)))
    assert await asyncio.gather(*jobs) == values


async def write_entries(
    client: Redis, rng: random.Random, live: list[Job[object]], usurped: Job[object]
) -> None:
    """Write a batch of entries, some of them under the ids of jobs that are there."""
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(BATCH):
            if number % 10 == 0:
                fields = garbage.unparsed_entry(rng, rng.choice(live).id.encode())
            else:
                job_id = usurped.id.encode() if number % 50 == 1 else garbage.an_id(rng)
                fields = garbage.entry(rng, job_id, garbage.envelope(rng, TASKS))
            pipeline.execute_command("XADD", PREFIX + rng.choice(STREAMS), "*", *fields)
        await pipeline.execute()


async def die_with_some(client: Redis, roster: WorkerRegistry) -> None:
    """Be a worker that reads and is lost, and be recovered."""
    streams = [PREFIX + stream for stream in STREAMS]
    new = [">" for _ in streams]
    await client.execute_command(
        *("XREADGROUP", "GROUP", GROUP, "ghost", "COUNT", 30, "STREAMS", *streams, *new)
    )
    await roster.register_strays(1_000)
    # Nothing is left of one that was recovered already.
    while (await roster.recover("ghost", "0 1000", 1_000)).finished == 0:
        pass


async def is_drained(client: Redis) -> bool:
    """Say whether the streams are empty and nothing is pending."""
    for stream in STREAMS:
        left = await client.xpending(PREFIX + stream, GROUP)
        if left["pending"] or await client.xlen(PREFIX + stream):
            return False
    return True


async def commands_in_a_second(client: Redis) -> int:
    """Count what is asked of Redis while there is nothing to do."""
    before = await client.info("stats")
    await asyncio.sleep(1)
    after = await client.info("stats")
    count: int = after["total_commands_processed"] - before["total_commands_processed"]
    return count


async def check_leftovers(client: Redis) -> None:
    """No trace of a job stays for ever, but of those that wait for a task or for their time."""
    stuck: list[str] = []
    for key in await client.keys(PREFIX + "job:*"):
        trace = await client.hgetall(key)
        if b"p" not in trace and trace.get(b"s") != b"parked" and await client.pttl(key) < 0:
            stuck.append(f"{key!r}: {trace}")
    assert not stuck, f"{len(stuck)} jobs are stuck, the first: {stuck[0]}"
