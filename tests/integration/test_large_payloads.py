"""Payloads of megabytes: calls are bounded in bytes, and a slow upload is not silence."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import product
from typing import Literal, TypedDict

import pytest

from aiostreamq import (
    GiveUp,
    JobDead,
    JobFailed,
    PayloadError,
    Queue,
    QueueFull,
    QueueUnavailable,
    UsageError,
    Worker,
)
from aiostreamq.model.delivery import Settlement
from aiostreamq.store.connection import connector, reconnecting
from aiostreamq.store.connection.link import Reply, SocketLink
from aiostreamq.store.deliveries import Deliveries, Settled
from tests.support.nightly import mostly_nightly
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

MEGABYTE = 1024 * 1024

#: The most that a single call may have: a batch, or one payload of the longest kind beside it.
LONGEST_CALL = 2 * MEGABYTE + 100_000


def text(size: int) -> str:
    """Return *size* characters, each of one byte of JSON."""
    return "x" * size


async def digest(payload: str) -> str:
    """Take a large argument."""
    return hashlib.sha256(payload.encode()).hexdigest()


async def grow(size: int) -> str:
    """Return a large result."""
    return text(size)


@pytest.fixture
def longest_calls(monkeypatch: pytest.MonkeyPatch) -> "list[int]":
    """The sizes of all calls of this process, as they happen."""
    sizes: list[int] = []
    call = SocketLink.call

    def measured(self: SocketLink, *command: str | bytes | int) -> "asyncio.Future[Reply]":
        sizes.append(sum(len(part) for part in command if not isinstance(part, int)))
        return call(self, *command)

    monkeypatch.setattr(SocketLink, "call", measured)
    return sizes


class Bound(TypedDict, total=False):
    """Options that bound a lane."""

    max_length: int
    max_bytes: int
    when_full: Literal["raise", "wait"]


PATIENT: Bound = {"max_length": 10_000, "when_full": "wait"}

Enqueue = Callable[[Queue, list[str]], Awaitable[object]]


async def in_bulk(queue: Queue, texts: list[str]) -> None:
    """Enqueue with one call."""
    task = queue.tasks["digest"]
    await queue.enqueue_many(task.bind(one) for one in texts)


async def at_once(queue: Queue, texts: list[str]) -> None:
    """Enqueue with many concurrent calls."""
    task = queue.tasks["digest"]
    await asyncio.gather(*(task.enqueue(one) for one in texts))


async def for_later(queue: Queue, texts: list[str]) -> None:
    """Enqueue with many concurrent calls for a later moment."""
    task = queue.tasks["digest"]
    await asyncio.gather(*(task.using(delay=3600).enqueue(one) for one in texts))


WAYS: list[Enqueue] = [in_bulk, at_once, for_later]


SIZES = [100, 3_000, 40_000, MEGABYTE - 1000]

BOUNDS: list[Bound] = [{}, {"max_length": 10_000}, {"max_bytes": 100 * MEGABYTE}, PATIENT]


@pytest.mark.parametrize(
    ("options", "size", "way"),
    mostly_nightly(
        product(BOUNDS, SIZES, WAYS),
        but=[
            *product(BOUNDS[:1], SIZES, WAYS),
            *product(BOUNDS[1:], [40_000], WAYS),
            *product(BOUNDS[1:], SIZES, WAYS[:1]),
        ],
    ),
)
async def test_enqueues_are_bounded(
    way: Enqueue,
    size: int,
    options: Bound,
    redis_url: str,
    longest_calls: list[int],
) -> None:
    """No call to Redis is much longer than a megabyte, whatever the payloads, and all go in."""
    count = max(30, min(600, 20 * MEGABYTE // size))
    async with Queue(redis_url, **options) as queue:
        queue.task(digest)
        await way(queue, [text(size)] * count)
        info = await queue.info()
        assert info.waiting + info.delayed == count
    assert max(longest_calls) <= LONGEST_CALL
    # Batches are still batches, though a slow machine may divide them.
    calls = sum(one > size for one in longest_calls)
    assert calls <= 2 + 2 * count * size // MEGABYTE + count // 30


async def test_mixed_sizes(redis_url: str, longest_calls: list[int]) -> None:
    """Small payloads among large ones go along, and results come back to their jobs."""
    sizes = [10, MEGABYTE - 1000, 5_000, 300_000, 10, 1_900, 2_100] * 20
    async with Queue(redis_url) as queue, Worker(queue, concurrency=10):
        task = queue.task(digest)
        jobs = await asyncio.gather(*(task.enqueue(text(size)) for size in sizes))
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*jobs)
        assert found == [await digest(text(size)) for size in sizes]
    assert max(longest_calls) <= LONGEST_CALL


@pytest.mark.parametrize("size", [100, 20_000, MEGABYTE - 1000])
async def test_settles_are_bounded(size: int, redis_url: str, longest_calls: list[int]) -> None:
    """Results of jobs that end in one moment travel in calls of about a megabyte."""
    async with Queue(redis_url) as queue, Worker(queue, concurrency=50):
        gate = asyncio.Event()

        @queue.task
        async def wait(size: int) -> str:
            await gate.wait()
            return text(size)

        jobs = await queue.enqueue_many(wait.bind(size) for _ in range(50))
        await wait_until(lambda: _are_running(queue, 50), "all jobs to run")
        gate.set()
        async with asyncio.timeout(PATIENCE):
            assert set(await asyncio.gather(*jobs)) == {text(size)}
    assert max(longest_calls) <= LONGEST_CALL


async def test_dead_letters_are_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of jobs that fail in one moment Redis copies the payloads a megabyte at a time."""
    copied: list[int] = []
    settle = Deliveries.settle

    async def noted(self: Deliveries, batch: Sequence[Settlement], worker: str) -> Settled:
        copied.append(sum(len(one.delivery.envelope) for one in batch if one.is_dead))
        return await settle(self, batch, worker)

    monkeypatch.setattr(Deliveries, "settle", noted)
    async with Queue(redis_url) as queue, Worker(queue, concurrency=20):
        gate = asyncio.Event()

        @queue.task
        async def fail(payload: str) -> None:
            await gate.wait()
            raise GiveUp(payload[:1])

        jobs = await queue.enqueue_many([fail.bind(text(400_000))] * 20)
        await wait_until(lambda: _are_running(queue, 20), "all jobs to run")
        gate.set()
        async with asyncio.timeout(PATIENCE):
            ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert {type(end) for end in ends} == {JobDead}
    assert sum(copied) > 20 * 400_000
    assert max(copied) <= MEGABYTE


async def _is_empty(queue: Queue) -> bool:
    info = await queue.info()
    return info.waiting + info.running == 0


async def _are_running(queue: Queue, count: int) -> bool:
    return (await queue.info()).running == count


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds without progress after which a connection is given up, in this test."""
    seconds = 1.0
    defaults = connector.RedisConnector.open_link.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "reply_timeout", seconds)
    link_defaults = reconnecting.ReconnectingLink.__init__.__kwdefaults__
    assert link_defaults is not None
    monkeypatch.setitem(link_defaults, "reply_timeout", seconds)
    return seconds


@pytest.fixture
async def slow(own_redis_server: RedisServer, short_silence: float) -> AsyncIterator[Proxy]:
    """A network on which one payload of a megabyte takes longer than silence may last."""
    async with Proxy(own_redis_server.port, window=16_384) as proxy:
        proxy.request_rate = int(MEGABYTE / short_silence / 3)
        yield proxy


@pytest.mark.parametrize("way", WAYS)
async def test_slow_upload_is_not_silence(way: Enqueue, slow: Proxy) -> None:
    """An enqueue that takes longer than a reply may take is sent once, and succeeds."""
    # Less than the payloads take, and enough for a short call on a loaded machine.
    async with Queue(slow.url, enqueue_timeout=4, max_payload=4 * MEGABYTE) as queue:
        queue.task(digest)
        await way(queue, ["short"])  # it is connected, and Redis has the script
        made, sent = slow.connections_made, slow.request_bytes
        await way(queue, [text(MEGABYTE)] * 2)
        assert slow.connections_made == made
        assert slow.request_bytes - sent < 3 * MEGABYTE


async def test_slow_results_are_settled(slow: Proxy, own_redis_server: RedisServer) -> None:
    """Results that take longer than a reply may take are sent once."""
    count = 3
    async with Queue(own_redis_server.url) as seen, Queue(slow.url) as queue:
        task = queue.task(grow)
        seen.task(grow)
        async with Worker(queue):
            await (await task.enqueue(1))  # Redis has the scripts
            sent = slow.request_bytes
            new = await queue.enqueue_many([task.bind(MEGABYTE - 1000)] * count)
            async with asyncio.timeout(PATIENCE):
                found = await asyncio.gather(*(seen.job(job.id) for job in new))
        assert set(found) == {text(MEGABYTE - 1000)}
        assert slow.request_bytes - sent < (count + 1) * MEGABYTE


@pytest.mark.parametrize("size", [10, 3 * MEGABYTE])
async def test_dead_network_is_silence(size: int, slow: Proxy, short_silence: float) -> None:
    """Bytes that do not arrive do not count as progress: the enqueue fails in its time."""
    async with Queue(slow.url, enqueue_timeout=short_silence, max_payload=4 * MEGABYTE) as queue:
        task = queue.task(digest)
        await queue.info()
        slow.swallow()
        slow.request_rate = 1  # it reads no more
        with pytest.raises(QueueUnavailable):
            async with asyncio.timeout(PATIENCE):
                await task.enqueue(text(size))
        slow.forward()


async def test_what_waits_fails_with_the_others(own_redis_server: RedisServer) -> None:
    """If Redis is away, large enqueues fail in their time, those that wait for others too."""
    async with Queue(own_redis_server.url, enqueue_timeout=0.5) as queue:
        task = queue.task(digest)
        await queue.info()
        own_redis_server.stop()
        many = [task.enqueue(text(MEGABYTE - 1000)) for _ in range(40)]
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*many, return_exceptions=True)
        assert {type(one) for one in found} == {QueueUnavailable}


#: Limits of Redis that a payload of two megabytes is over.
LIMITS = {"client-query-buffer-limit": "1500000", "proto-max-bulk-len": "1500000"}


@pytest.fixture(params=LIMITS)
async def strict(request: pytest.FixtureRequest, own_redis_server: RedisServer) -> RedisServer:
    """A server that takes no more than a megabyte and a half at once."""
    own_redis_server.ask("CONFIG", "SET", request.param, LIMITS[request.param])
    return own_redis_server


@pytest.mark.parametrize("way", ["at once", "in bulk", "for later", "wait"])
async def test_redis_refuses_a_payload(strict: RedisServer, way: str) -> None:
    """The enqueue that is too large fails with its size; those beside it succeed."""
    options: Bound = PATIENT if way == "wait" else {}
    sizes = [100, 900_000, 2 * MEGABYTE, 100, 900_000, 100]
    async with Queue(strict.url, max_payload=4 * MEGABYTE, **options) as queue:
        task = queue.task(digest)
        calls = task.using(delay=3600) if way == "for later" else task
        async with asyncio.timeout(PATIENCE):
            if way == "in bulk":
                with pytest.raises(PayloadError, match=r"2,097,1.. bytes"):
                    await queue.enqueue_many(task.bind(text(size)) for size in sizes)
            else:
                found = await asyncio.gather(
                    *(calls.enqueue(text(size)) for size in sizes), return_exceptions=True
                )
                [error] = [one for one in found if isinstance(one, BaseException)]
                assert found.index(error) == 2
                assert isinstance(error, PayloadError)
                assert "task 'digest': Redis does not take a payload of 2,097," in str(error)
        info = await queue.info()
        assert info.waiting + info.delayed == len(sizes) - 1


async def test_redis_refuses_a_result(
    strict: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The job whose result is too large fails and says so; those beside it are done."""
    sizes = [100, 900_000, 2 * MEGABYTE, 100, 900_000, 100]
    async with Queue(strict.url, max_payload=4 * MEGABYTE) as queue, Worker(queue):
        task = queue.task(grow)
        jobs = await queue.enqueue_many(task.bind(size) for size in sizes)
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*jobs, return_exceptions=True)
        [error] = [one for one in found if isinstance(one, BaseException)]
        assert found.index(error) == 2
        assert isinstance(error, JobFailed)
        assert error.type == "aiostreamq.errors.PayloadError", "as of one over max_payload"
        assert "Redis does not take an outcome of 2,097," in str(error)
        [letter] = await queue.dead_letters.list()
        assert letter.job_id == jobs[2].id
        assert (await queue.info()).running == 0
    assert "job has failed, as its outcome is too large" in caplog.text


@pytest.mark.parametrize("size", [100, 100_000, MEGABYTE - 1000])
async def test_chunks_are_bounded(size: int, redis_url: str, longest_calls: list[int]) -> None:
    """Chunks of many jobs that yield in one moment travel in calls of about a megabyte."""
    async with Queue(redis_url) as queue:

        @queue.task
        async def pour(size: int) -> AsyncIterator[str]:
            for _ in range(3):
                yield text(size)

        async with Worker(queue, concurrency=40), asyncio.timeout(PATIENCE):
            jobs = await queue.enqueue_many(pour.bind(size) for _ in range(20))
            await asyncio.gather(*jobs)
            found = [len(chunk) async for chunk in jobs[0]]
        assert found == [size] * 3
    assert max(longest_calls) <= LONGEST_CALL


async def test_dead_letters_are_read_in_pieces(own_redis_server: RedisServer) -> None:
    """Pages of letters shrink until Redis can send them; all are listed, replayed and run again."""
    own_redis_server.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 2000000 0 0")
    async with Queue(own_redis_server.url) as queue:
        fails = True

        @queue.task
        async def fail(n: int, payload: str) -> int:
            if fails:
                raise ValueError(n)
            return len(payload)

        async with Worker(queue, concurrency=4), asyncio.timeout(3 * PATIENCE):
            jobs = await queue.enqueue_many(fail.bind(n, text(700_000)) for n in range(6))
            await asyncio.gather(*jobs, return_exceptions=True)
            letters = await queue.dead_letters.list()
            assert {letter.job_id for letter in letters} == {job.id for job in jobs}
            fails = False
            assert await queue.dead_letters.replay(everything=True) == 6
            again = [queue.job(job.id) for job in jobs]
            assert await asyncio.gather(*again) == [700_000] * 6


async def test_many_results_are_fetched_in_pieces(own_redis_server: RedisServer) -> None:
    """Results that together are more than Redis sends at once all arrive."""
    own_redis_server.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 3000000 0 0")
    async with Queue(own_redis_server.url) as queue:
        task = queue.task(grow)
        async with Worker(queue):
            jobs = await queue.enqueue_many([task.bind(900_000)] * 10)
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*jobs)
        async with asyncio.timeout(2 * PATIENCE):
            found = await asyncio.gather(*(queue.job(job.id) for job in jobs))
        assert set(found) == {text(900_000)}


@pytest.mark.parametrize("when_full", ["raise", "wait"])
async def test_bounded_bytes(store_url: str, when_full: Literal["raise", "wait"]) -> None:
    """A lane takes as many bytes as it may, and more as jobs end."""
    async with Queue(store_url, max_bytes=1_000_000, when_full=when_full) as queue:
        task = queue.task(digest)
        calls = [task.bind(text(300_000)) for _ in range(5)]
        if when_full == "raise":
            with pytest.raises(QueueFull, match=r"full \(max_bytes=1000000\)") as raised:
                await queue.enqueue_many(calls)
            assert (raised.value.enqueued, raised.value.max_bytes) == (3, 1_000_000)
            async with Worker(queue):
                await wait_until(lambda: _is_empty(queue), "the jobs to end")
            await queue.enqueue_many(calls[:3])
        else:
            async with Worker(queue), asyncio.timeout(PATIENCE):
                jobs = await queue.enqueue_many(calls)
                assert len(set(await asyncio.gather(*jobs))) == 1


async def test_refused_large_payload_leaves_no_trace(
    redis_url: str, longest_calls: list[int]
) -> None:
    """A lane that the queue lacks is refused before the size of the payload counts for anything."""
    async with Queue(redis_url) as queue:
        task = queue.task(digest)
        for _ in range(3):
            with pytest.raises(UsageError, match="no lane 'other'"):
                await task.using(lane="other").enqueue(text(MEGABYTE - 1000))
        longest_calls.clear()
        await asyncio.gather(*(task.enqueue(text(100)) for _ in range(400)))
    assert sum(one > 100 for one in longest_calls) == 1, "one batch, with all its places"
