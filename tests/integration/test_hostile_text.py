"""Whatever stands in Redis: no command prints what steers a terminal, as text or as JSON."""

import json
from contextlib import suppress

import orjson
import pytest
from redis.asyncio import Redis

from aiostreamq import GiveUp, JobError, Queue, Worker
from tests.support.hostile_text import HOSTILE_TEXTS, steering
from tests.support.processes import Program
from tests.support.waiting import PATIENCE

PREFIX = "aiostreamq:{jobs}:"

# What UTF-8 can carry, and so a key of Redis.
TEXTS = [text for text in HOSTILE_TEXTS.values() if "\ud800" not in text]


async def put_strangers(client: Redis) -> None:
    """Write what another program might have: each text in every place that is shown."""
    for text in TEXTS:
        call = orjson.dumps({"task": text, "args": [text], "kwargs": {text: text}})
        await client.xadd(f"{PREFIX}stream:default", {"id": text, "n": 1, "job": call})
        await client.xadd(f"{PREFIX}stream:default", {text: text})
        await client.hset(f"{PREFIX}paused", mapping={f"task:{text}": 0, f"lane:{text}": 0})
        about = dict.fromkeys(("host", "version", "state"), text)
        about |= {"lanes": [text], "tasks": [text], "jobs": [[text, text, 1, 1]], "pid": 7}
        about |= {"concurrency": 1, "running": 1, "started": 1, "at": 1}
        await client.hset(f"{PREFIX}workers", text, "1 3600000 default")
        await client.set(f"{PREFIX}worker:{text}", json.dumps(about))
        await client.hset(f"{PREFIX}schedules", text, await client.hget(f"{PREFIX}schedules", "s"))


@pytest.fixture
async def ids(redis_url: str, client: Redis) -> dict[str, str]:
    """The ids of a failed job and of a dead letter, among many that hold such text."""
    odd = type("Odd", (ValueError,), {"__qualname__": "".join(TEXTS)})
    queue = Queue(redis_url, name="jobs")

    @queue.task
    async def fail(*messages: str, **more: object) -> None:
        raise odd(*messages)

    @queue.task
    async def give_up(reason: str) -> None:
        raise GiveUp(reason)

    async with queue, Worker(queue):
        await queue.schedules.create("s", "fail", args=TEXTS, every=3600)
        await put_strangers(client)
        jobs = [await fail.enqueue(text, **{text: text}) for text in TEXTS]
        jobs += [await give_up.enqueue(text) for text in TEXTS]
        failed = await fail.enqueue("".join(TEXTS))
        for job in [*jobs, failed]:
            with suppress(JobError):
                await job.result(timeout=PATIENCE)
        letters = [letter.id for letter in await queue.dead_letters.list(limit=1000)]
    return {"JOB": failed.id, "LETTER": letters[0], "STRANGER": letters[-1]}


COMMANDS = [
    "info",
    "workers",
    "pause",
    "doctor",
    "jobs ls --limit 1000",
    "jobs show JOB",
    "jobs result JOB",
    "dead ls --limit 1000",
    "dead show LETTER",
    "dead show STRANGER",
    "schedules ls",
    "schedules show s",
    "schedules explain s",
]

# They print nothing of what was written.
NEVER = {"doctor", "schedules show s", "schedules explain s"}


async def test_no_command_steers_the_terminal(redis_url: str, ids: dict[str, str]) -> None:
    """All it prints is visible; JSON is ASCII."""
    for command in COMMANDS:
        for form in ((), ("--json",)):
            words = [ids.get(word, word) for word in command.split()]
            count = 2 if words[0] in {"jobs", "dead", "schedules"} else 1
            target = ("tests.support.jobs:queue", *words[count:], "--url", redis_url, *form)
            program = Program("-m", "aiostreamq", *words[:count], *target)
            async with program:
                code = await program.wait_end()
            assert code == (command.startswith(("doctor", "jobs result"))), program.printed
            is_shown = "\\u001b" in program.printed or "\\x1b" in program.printed
            assert is_shown or command in NEVER, (command, program.printed)
            assert 'Traceback (most recent call last):\n  File "<frozen' not in program.printed
            for line in program.lines:
                assert not steering(line), (command, line)
                if form and line.startswith("{"):
                    assert line.isascii(), (command, line)
                    json.loads(line)
