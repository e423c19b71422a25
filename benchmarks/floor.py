"""The floor: a task queue's hot path written by hand on redis-py, nothing else.

No retries, no timeouts, no lost-worker recovery, no typed arguments: what is
left is what one process can do with redis-py, orjson and one asyncio task per
job, and so the limit for a library built on them.

- Enqueue: all that is awaited during one turn of the loop goes into one script
  call; bulk goes in calls of 500.
- Worker: XREADGROUP COUNT 256, one asyncio task a job, at most 100 at a time,
  and one settle script per read: XACK, XDEL, the result with its time to live,
  and one element on the list of each client that waits.
- Round trip: XADD, run, BLPOP.
"""

import asyncio
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import orjson
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from benchmarks.harness import CONCURRENCY, Client, bodies, main

STREAM = "floor:jobs"
GROUP = "floor:workers"
RESULT = "floor:result:"
INBOX = "floor:inbox:"

READ_COUNT = 256
BULK = 500
RESULT_TTL_MS = 300_000

# KEYS[1] stream; ARGV jobs as JSON. One XADD each.
ADD = """
for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'd', ARGV[i]) end
return #ARGV
"""

# KEYS[1] stream; ARGV[1] group, ARGV[2] ttl_ms, ARGV[3] n jobs,
# then n entry ids, n pairs of result key and value, and pairs of inbox and notice.
SETTLE = """
local ttl, n = ARGV[2], tonumber(ARGV[3])
local ids = {unpack(ARGV, 4, 3 + n)}
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
redis.call('XDEL', KEYS[1], unpack(ids))
for i = 4 + n, 3 + 3 * n, 2 do
  redis.call('SET', ARGV[i], ARGV[i + 1], 'PX', ttl)
end
for i = 4 + 3 * n, #ARGV, 2 do
  redis.call('RPUSH', ARGV[i], ARGV[i + 1])
  redis.call('PEXPIRE', ARGV[i], ttl)
end
return n
"""


async def noop(number: int) -> None:
    """Do nothing but be counted."""
    bodies.note()


async def keep(text: str) -> None:
    """Carry a payload of known size."""


TASKS: dict[str, Callable[..., Awaitable[object]]] = {"noop": noop, "keep": keep}


def open_redis(url: str) -> "Redis":
    """Open a client of one connection, without the pool's work on each command.

    The timeout is off because the blocking reads here last as long as they like.
    """
    options: dict[str, Any] = {"socket_timeout": None, "single_connection_client": True}
    return Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType] - its kwargs


class FloorClient(Client):
    """Enqueues by script, waits on one list for all results."""

    has_bulk = True

    def __init__(self, url: str) -> None:
        self._redis = open_redis(url)
        self._inbox_redis = open_redis(url)
        self._inbox = INBOX + uuid.uuid4().hex
        self._numbers = count()
        self._add = ""
        # Jobs of this turn of the loop, and the future their enqueuers share.
        self._turn: list[bytes] = []
        self._sent: asyncio.Future[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, asyncio.Future[object]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, make the group, load the script."""
        await make_group(self._redis)
        self._add = await self._redis.script_load(ADD)

    async def aclose(self) -> None:
        """Stop reading results and disconnect."""
        if self._reader:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        await self._redis.aclose()
        await self._inbox_redis.aclose()

    async def enqueue(self, number: int) -> None:
        """Join this turn's script call."""
        await self._enqueue(self._job("noop", number)[1])

    async def enqueue_text(self, text: str) -> None:
        """Join this turn's script call with a larger job."""
        await self._enqueue(self._job("keep", text)[1])

    async def enqueue_many(self, count: int) -> None:
        """Enqueue in script calls of 500."""
        for start in range(0, count, BULK):
            numbers = range(start, min(start + BULK, count))
            await self._send([self._job("noop", number)[1] for number in numbers])

    async def round_trip(self, number: int) -> object:
        """Add, and block until the answer is there."""
        await self._redis.xadd(STREAM, {"d": self._job("noop", number)[1]})
        notice: Any = await self._redis.blpop([self._inbox], timeout=0)
        return orjson.loads(notice[1])

    async def round_trip_in_flight(self, number: int) -> object:
        """Join this turn's script call; the one reader wakes the future."""
        job_id, job = self._job("noop", number)
        result = self._expect(job_id)
        await self._enqueue(job)
        return await result

    async def start_waiting(self, count: int) -> list[Awaitable[object]]:
        """Enqueue in bulk, one future a job, one connection for all."""
        jobs = [self._job("noop", number) for number in range(count)]
        results: list[Awaitable[object]] = [self._expect(job_id) for job_id, _ in jobs]
        for start in range(0, count, BULK):
            await self._send([job for _, job in jobs[start : start + BULK]])
        return results

    def _job(self, task: str, argument: object) -> tuple[str, bytes]:
        job_id = f"{self._inbox[-8:]}{next(self._numbers):x}"
        job = {"id": job_id, "task": task, "args": [argument], "inbox": self._inbox}
        return job_id, orjson.dumps(job)

    async def _enqueue(self, job: bytes) -> None:
        self._turn.append(job)
        if self._sent is None:
            loop = asyncio.get_running_loop()
            self._sent = loop.create_future()
            loop.call_soon(self._end_turn)
        # Nobody here is ever cancelled, so the one future needs no shield.
        await self._sent

    def _end_turn(self) -> None:
        jobs, sent = self._turn, self._sent
        assert sent is not None
        self._turn, self._sent = [], None
        task = asyncio.create_task(self._send_turn(jobs, sent))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_turn(self, jobs: list[bytes], sent: "asyncio.Future[None]") -> None:
        await self._send(jobs)
        sent.set_result(None)

    async def _send(self, jobs: Sequence[bytes]) -> None:
        await self._redis.evalsha(self._add, 1, STREAM, *jobs)

    def _expect(self, job_id: str) -> "asyncio.Future[object]":
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_inbox())
        result: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[job_id] = result
        return result

    async def _read_inbox(self) -> None:
        while True:
            notice: Any = await self._inbox_redis.blpop([self._inbox], timeout=0)
            for job_id, result in orjson.loads(notice[1]):
                self._waiting.pop(job_id).set_result(result)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[FloorClient]:
    """Open a client for the harness."""
    client = FloorClient(url)
    await client.open()
    try:
        yield client
    finally:
        await client.aclose()


async def make_group(redis: "Redis") -> None:
    """Make the stream and its group unless they are there."""
    with suppress(ResponseError):
        await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)


async def run_job(job: dict[str, Any]) -> object:
    """Run one job and return its result."""
    return await TASKS[job["task"]](*job["args"])


async def run_batch(jobs: list[dict[str, Any]]) -> list[object]:
    """Run each job in a task of its own, at most CONCURRENCY at a time."""
    results: list[object] = []
    for start in range(0, len(jobs), CONCURRENCY):
        tasks = [asyncio.create_task(run_job(job)) for job in jobs[start : start + CONCURRENCY]]
        results += [await task for task in tasks]
    return results


def settle_arguments(
    entry_ids: list[bytes], jobs: list[dict[str, Any]], results: list[object]
) -> list[Any]:
    """Return the settle script's arguments for one batch."""
    arguments: list[Any] = [GROUP, RESULT_TTL_MS, len(jobs), *entry_ids]
    notices: dict[str, list[tuple[str, object]]] = {}
    for job, result in zip(jobs, results, strict=True):
        arguments += (RESULT + job["id"], orjson.dumps(result))
        notices.setdefault(job["inbox"], []).append((job["id"], result))
    for inbox, notice in notices.items():
        arguments += (inbox, orjson.dumps(notice))
    return arguments


async def run_worker(url: str) -> None:
    """Work until cancelled."""
    async with open_redis(url) as reader, open_redis(url) as settler:
        await make_group(settler)
        await serve(reader, settler)


async def serve(reader: "Redis", settler: "Redis") -> None:
    """Read on one connection, settle on the other, so that the two overlap."""
    settle = await settler.script_load(SETTLE)
    settling: asyncio.Future[Any] | None = None
    while True:
        streams: Any = await reader.xreadgroup(
            GROUP, "worker", {STREAM: ">"}, count=READ_COUNT, block=0
        )
        [[_, entries]] = streams
        jobs = [orjson.loads(fields[b"d"]) for _, fields in entries]
        results = await run_batch(jobs)
        arguments = settle_arguments([entry_id for entry_id, _ in entries], jobs, results)
        # One at a time: a worker that outruns its settling would pile up memory.
        if settling is not None:
            await settling
        settling = asyncio.ensure_future(settler.evalsha(settle, 1, STREAM, *arguments))
        await asyncio.sleep(0)  # the settling is sent before the next read is


def work(url: str) -> None:
    """Run one worker process until SIGTERM."""

    async def until_stopped() -> None:
        worker = asyncio.ensure_future(run_worker(url))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
        with suppress(asyncio.CancelledError):
            await worker

    uvloop.run(until_stopped())


if __name__ == "__main__":
    main(connect, work)
