"""Payloads of megabytes on their way to a worker: reads are bounded, and so is what it holds."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

import pytest

from aiostreamq import Job, JobDead, Queue, Worker
from aiostreamq.model.keys import OVERFLOW, Keys, Spillway
from aiostreamq.store import reads
from tests.support.redis_server import RedisServer
from tests.support.store import Store
from tests.support.waiting import PATIENCE, wait_until

MEGABYTE = 1024 * 1024

#: The least that a server may be told to send at once.
OUTPUT_LIMIT = "normal 2000000 0 0"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty queue, seen from below."""
    async with Store(store_url) as store:
        yield store


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> "list[int]":
    """How many jobs each read of this process has brought."""
    counts: list[int] = []
    note = reads.ReadSize.note

    def noted(self: reads.ReadSize, entries: int, size: int) -> None:
        counts.append(entries)
        note(self, entries, size)

    monkeypatch.setattr(reads.ReadSize, "note", noted)
    return counts


async def length(text: str) -> int:
    """Return how long a text is."""
    return len(text)


def blocking_length(text: str) -> int:
    """Return how long a text is, in a thread or process."""
    return len(text)


@pytest.mark.parametrize("size", [100, 30_000, MEGABYTE - 1000])
@pytest.mark.parametrize("lanes", [["default"], ["default", "other"]])
async def test_reads_are_bounded(
    size: int, lanes: list[str], redis_url: str, replies: list[int]
) -> None:
    """A read brings about a megabyte, once the first has shown how long payloads are."""
    count = 60 * MEGABYTE // max(size, MEGABYTE // 2)
    async with Queue(redis_url, lanes=lanes) as queue:
        task = queue.task(length)
        jobs = await queue.enqueue_many([task.bind("x" * size)] * count)
        async with Worker(queue, max_held_bytes=1000 * MEGABYTE), asyncio.timeout(PATIENCE):
            assert set(await asyncio.gather(*jobs)) == {size}
    assert sum(replies) == count
    first, *others = filter(None, replies)  # the first read may end before it has brought anything
    assert first <= reads.FIRST
    assert max(others) <= max(1, reads.READ_BYTES // size)


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("place", [*OVERFLOW, "parked"])
async def test_what_other_workers_left(store: Store, store_url: str, place: str) -> None:
    """Each read of it brings little, and the next follows at once, until all has been read."""
    queue = Queue(store_url, name=store.keys.queue)

    match place:
        case "thread" | "process":
            task = queue.task(executor=place)(blocking_length)
        case _:
            task = queue.task(length)
    async with queue:
        jobs = await queue.enqueue_many([task.bind("x" * 400_000)] * 60)
        held = await store.read(count=60)
        if place == "parked":
            await store.parking.park([(one, task.name) for one in held])
        else:
            await store.deliveries.requeue(held, OVERFLOW[cast("Spillway", place)])
        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert set(await asyncio.gather(*jobs)) == {400_000}


@pytest.mark.parametrize("lanes", [["default"], ["default", "other"]])
@pytest.mark.parametrize("size", [100, 400_000, 1_500_000])
async def test_replies_are_cut(own_redis_server: RedisServer, size: int, lanes: list[str]) -> None:
    """A server that sends little at once: reads shrink until they fit, and every job runs once."""
    own_redis_server.ask("CONFIG", "SET", "client-output-buffer-limit", OUTPUT_LIMIT)
    ran: list[int] = []
    async with Queue(own_redis_server.url, max_payload=2 * MEGABYTE, lanes=lanes) as queue:

        @queue.task
        async def note(n: int, text: str) -> int:
            ran.append(n)
            return len(text)

        jobs = await queue.enqueue_many(note.bind(n, "x" * size) for n in range(40))
        async with Worker(queue), asyncio.timeout(2 * PATIENCE):
            assert set(await asyncio.gather(*jobs)) == {size}
    assert sorted(ran) == list(range(40))


@pytest.mark.parametrize("is_over", [False, True], ids=["running", "ended"])
@pytest.mark.parametrize(
    ("jobs", "count", "size"), [(1, 40, 100_000), (1, 6, 900_000), (12, 2, 900_000)]
)
async def test_replies_of_events_are_cut(
    own_redis_server: RedisServer, jobs: int, count: int, size: int, is_over: bool
) -> None:
    """Reads of events shrink too, while jobs run and after their end, and no event is lost."""
    may_end = asyncio.Event()
    async with Queue(own_redis_server.url) as queue:

        @queue.task
        async def pour() -> AsyncIterator[str]:
            for _ in range(count):
                yield "x" * size
            await may_end.wait()

        async def follow(job: Job[object]) -> list[int]:
            return [len(str(await anext(chunks))) for chunks in [aiter(job)] for _ in range(count)]

        def are_sent() -> bool:
            keys = [Keys(queue.name).events(job.id) for job in poured]
            sizes = [own_redis_server.ask("MEMORY", "USAGE", key) for key in keys]
            return all(int(str(one or 0)) >= count * size for one in sizes)

        async with Worker(queue, concurrency=jobs), asyncio.timeout(3 * PATIENCE):
            poured = await queue.enqueue_many(pour.bind() for _ in range(jobs))
            await wait_until(are_sent, "all chunks to be in Redis")
            if is_over:
                may_end.set()
                await asyncio.gather(*poured)
            own_redis_server.ask("CONFIG", "SET", "client-output-buffer-limit", OUTPUT_LIMIT)
            found = await asyncio.gather(*map(follow, poured))
            assert found == [[size] * count] * jobs
            may_end.set()


async def test_payload_cannot_be_sent(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The one job that Redis cannot send goes to the dead letters; those beside it run."""
    own_redis_server.ask("CONFIG", "SET", "client-output-buffer-limit", OUTPUT_LIMIT)
    sizes = [100, 400_000, 3 * MEGABYTE, 400_000, 100]
    async with Queue(own_redis_server.url, max_payload=4 * MEGABYTE) as queue:
        task = queue.task(length)
        jobs = await queue.enqueue_many(task.bind("x" * size) for size in sizes)
        async with Worker(queue), asyncio.timeout(3 * PATIENCE):
            found = await asyncio.gather(*jobs, return_exceptions=True)
            assert [one for one in found if not isinstance(one, BaseException)] == [
                size for size in sizes if size < MEGABYTE
            ]
            assert isinstance(found[2], JobDead)
            assert "client-output-buffer-limit" in str(found[2])
        assert await queue.dead_letters.count() == 1
    assert "Redis cuts the connection when it sends the job" in caplog.text


@pytest.mark.parametrize(("argument", "result"), [(500_000, 1), (1, 500_000), (300_000, 200_000)])
async def test_held_bytes(
    argument: int, result: int, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fewer jobs run at once while payloads are large, one line says so, and it ends with them."""
    caplog.set_level(logging.INFO)
    now = most = 0
    async with Queue(redis_url) as queue:

        @queue.task
        async def work(text: str, size: int) -> str:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1
            return "x" * size

        async with Worker(queue, concurrency=30, max_held_bytes=2_000_000):
            async with asyncio.timeout(PATIENCE):
                for _ in range(2):  # the worker learns the sizes
                    await (await work.enqueue("x" * argument, result))
                most = 0
                jobs = await queue.enqueue_many([work.bind("x" * argument, result)] * 40)
                await asyncio.gather(*jobs)
                assert 1 <= most <= 5
                # Small ones again: it takes some reads until that is believed.
                for _ in range(60):
                    await (await work.enqueue("x", 1))
                most = 0
                jobs = await queue.enqueue_many([work.bind("x", 1)] * 200)
                await asyncio.gather(*jobs)
                assert most > 10
    assert "fewer than 30 jobs run at once" in caplog.text


async def test_parents_are_not_held_back(redis_url: str) -> None:
    """Jobs with large payloads that await others of the same kind come to their end."""
    async with Queue(redis_url) as queue:

        @queue.task
        async def parent(text: str, depth: int) -> int:
            if depth == 0:
                return 0
            return 1 + await (await parent.enqueue(text, depth - 1))

        async with (
            Worker(queue, concurrency=4, max_held_bytes=1_000_000),
            asyncio.timeout(PATIENCE),
        ):
            jobs = [await parent.enqueue("x" * 600_000, 3) for _ in range(2)]
            assert await asyncio.gather(*jobs) == [3, 3]
