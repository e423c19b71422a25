"""A queue with a job in each state: made by a release, recorded, and put into another Redis."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis

from aiostreamq import Context, JobState, Queue, Retry, Worker
from tests.support.waiting import wait_until

Ask = Callable[..., Awaitable[Any]]

GROUP = "aiostreamq"
PREFIX = "aiostreamq:{recorded}:"

#: What one release left in Redis. It is never made anew: it is what other releases must read.
RECORDED = Path(__file__).parents[1] / "contract" / "recorded.json"


def queue_of(url: str, hold: asyncio.Event) -> Queue:
    """Return the queue, its tasks registered, but for the one that only some workers know."""
    queue = Queue(url, name="recorded", lanes={"default": 2, "slow": 1})

    @queue.task
    async def add(a: int, b: int) -> int:
        return a + b

    @queue.task
    async def fail(reason: str) -> None:
        raise ValueError(reason)

    @queue.task(retry=Retry(2, backoff=["1h"], jitter=False))
    async def stumble(context: Context) -> int:
        if context.attempt == 1:
            raise OSError("not yet")
        return context.attempt

    @queue.task
    async def count(context: Context, upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            await context.progress(number / upto)
            yield number

    @queue.task(lane="slow")
    async def wait() -> str:
        await hold.wait()
        return "waited"

    _ = (add, fail, stumble, count, wait)
    return queue


async def is_in(queue: Queue, job_id: str, state: JobState) -> bool:
    """Whether a job is in *state*."""
    return await queue.job(job_id).status() is state


async def reports_a_job(queue: Queue) -> bool:
    """Whether the worker has reported the job that it runs."""
    return [len(worker.jobs) for worker in await queue.workers()] == [1]


async def are_counted(client: Redis) -> bool:
    """Whether the three jobs that have ended by then are counted."""
    recent = cast("list[tuple[bytes, dict[bytes, bytes]]]", await client.xrange(f"{PREFIX}recent"))
    return sum(len(fields[b"ids"].split()) for _, fields in recent) == 3


async def has_no_reader(url: str) -> bool:
    """Whether Redis knows of no client that waits for jobs: it could still be sent some."""
    async with Redis.from_url(url) as client:
        return (await client.info("clients"))["blocked_clients"] <= 1  # which awaits a result


async def make(url: str) -> None:
    """Have a job in each state, a schedule and a pause."""
    async with queue_of(url, asyncio.Event()) as queue:
        worker = Worker(queue, name="w", lease=1)
        running = asyncio.create_task(worker.run())
        done = await queue.named("add").using(id="done", result_ttl="1h").enqueue(1, 2)
        assert await done == 3
        for task, job_id, args in (
            ("fail", "failed", ("no tea",)),
            ("count", "counted", (3,)),
            ("stumble", "stumbled", ()),
            ("nowhere", "parked", (1,)),
            ("wait", "running", ()),
        ):
            await queue.named(task).using(id=job_id).enqueue(*args)
        expected = {
            "failed": JobState.FAILED,
            "counted": JobState.DONE,
            "stumbled": JobState.DELAYED,
            "parked": JobState.PARKED,
            "running": JobState.RUNNING,
        }
        for job_id, state in expected.items():
            await wait_until(lambda: is_in(queue, job_id, state), f"{job_id} to be {state}")  # noqa: B023  # called before the next turn
        async with Redis.from_url(url) as client:
            # How jobs ended is counted a little later, maybe in several batches.
            await wait_until(lambda: are_counted(client), "the jobs to be counted")
        await wait_until(lambda: reports_a_job(queue), "the worker to report what it runs")
        # A crash, as it were: what runs stays with a worker that is dead.
        worker.abort()
        await asyncio.gather(running, return_exceptions=True)
        await wait_until(lambda: has_no_reader(url), "Redis to see that it is gone")
        await queue.named("add").using(id="queued").enqueue(3, 4)
        await queue.named("add").using(id="late", delay="1h").enqueue(5, 6)
        await queue.named("add").using(id="cancelled").enqueue(7, 8)
        await queue.job("cancelled").cancel()
        await queue.schedules.create("nightly", "add", args=(1, 1), cron="0 3 * * *", tz="UTC")
        await queue.pause(task="add")


async def dump(client: Redis) -> dict[str, object]:
    """Return all keys of the queue, as JSON can hold them: what each is, and what is in it."""
    found: dict[str, object] = {}
    keys = cast("list[bytes]", await client.keys("aiostreamq:*"))
    for key in sorted(keys):
        kind = cast("bytes", await client.type(key)).decode()
        found[key.decode().removeprefix(PREFIX)] = [kind, await _content(client, key, kind)]
    return found


async def _content(client: Redis, key: bytes, kind: str) -> object:
    ask = cast("Ask", client.execute_command)
    match kind:
        case "string":
            return _text(await ask("GET", key))
        case "hash":
            pairs = cast("dict[bytes, bytes]", await client.hgetall(key))
            return {_text(field): _text(value) for field, value in pairs.items()}
        case "zset":
            members = await client.zrange(key, 0, -1, withscores=True)
            return {_text(member): score for member, score in members}
        case "set":
            return sorted(map(_text, await client.smembers(key)))
        case "list":
            return [_text(item) for item in await client.lrange(key, 0, -1)]
        case "stream":
            found = cast("list[tuple[bytes, dict[bytes, bytes]]]", await client.xrange(key))
            entries = [
                [_text(entry), [_text(x) for pair in fields.items() for x in pair]]
                for entry, fields in found
            ]
            groups = await client.xinfo_groups(key)
            if not groups:
                return {"entries": entries}
            pending = await client.xpending_range(key, GROUP, "-", "+", 1000)
            return {
                "entries": entries,
                "last": _text(groups[0]["last-delivered-id"]),
                "pending": [[_text(one["message_id"]), _text(one["consumer"])] for one in pending],
            }
        case _:
            raise AssertionError(kind)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


async def restore(client: Redis, recorded: dict[str, Any]) -> None:
    """Put what was recorded into an empty Redis."""
    ask = cast("Ask", client.execute_command)
    for name, (kind, content) in recorded.items():
        key = PREFIX + name
        match kind:
            case "string":
                await ask("SET", key, _raw(content))
            case "hash":
                await ask("HSET", key, *(_raw(x) for pair in content.items() for x in pair))
            case "zset":
                await ask("ZADD", key, *(_raw(x) for m, s in content.items() for x in (str(s), m)))
            case "set":
                await ask("SADD", key, *map(_raw, content))
            case "list":
                await ask("RPUSH", key, *map(_raw, content))
            case _:
                await _restore_stream(client, key, content)


async def _restore_stream(client: Redis, key: str, content: dict[str, Any]) -> None:
    ask = cast("Ask", client.execute_command)
    for entry, fields in content["entries"]:
        await ask("XADD", key, entry, *map(_raw, fields))
    if "last" in content:
        await ask("XGROUP", "CREATE", key, GROUP, content["last"], "MKSTREAM")
        for entry, owner in content["pending"]:
            await client.xclaim(key, GROUP, owner, 0, [entry], force=True, justid=True)


def _raw(text: str) -> bytes:
    return text.encode("latin-1")


def shape(recorded: dict[str, Any]) -> Any:
    """Return what does not differ between two recordings: all but times, numbers and names.

    The batches of a worker may also be divided in another way.
    """
    text = json.dumps(_undivided(recorded), sort_keys=True)
    text = re.sub(r"File [^,]+, line", "File, line", text)
    text = re.sub(r'(host\\":\\")[^\\]+', r"\1", text)
    text = re.sub(r"\bw-[0-9a-f]{8}\b", "w", text)
    text = re.sub(r"\b(stats|inbox):[\w-]+", r"\1", text)
    return json.loads(re.sub(r"\d+(\.\d+)?", "0", text))


def _undivided(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return a recording with the ends of jobs, and the events of a job, in one entry each."""
    whole = dict(recorded)
    _, recent = whole["recent"]
    whole["recent"] = sorted(end for _, fields in recent["entries"] for end in _ends_in(fields))
    counters: dict[str, str] = {}  # those of one minute or of two
    for key in [key for key in whole if key.startswith("stats:")]:
        counters |= whole.pop(key)[1]
    whole["stats:0"] = counters
    for key in [key for key in whole if key.startswith("events:")]:
        entries = [dict(_pairs(fields)) for _, fields in whole[key][1]["entries"]]
        events = [event for fields in entries for event in json.loads(fields.pop("e"))]
        whole[key] = [events, *(fields for fields in entries[:1])]
    return whole


def _ends_in(fields: list[str]) -> list[list[str]]:
    """Return the names of the fields of an entry of `recent`, the id and the kind of each job."""
    entry = dict(_pairs(fields))
    kinds, codes = entry["kinds"].split()[::2], entry["codes"]
    return [
        [*entry, job_id, kinds[int(codes[2 * place : 2 * place + 2], 16)]]
        for place, job_id in enumerate(entry["ids"].split())
    ]


def _pairs(fields: list[str]) -> zip[tuple[str, str]]:
    """Return the fields of a stream entry with their values."""
    return zip(fields[::2], fields[1::2], strict=True)
