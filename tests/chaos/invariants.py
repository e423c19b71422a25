"""What must be so after every scenario, whatever was done in it."""

from collections.abc import Collection, Mapping
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from aiostreamq.model.keys import GROUP, Keys
from tests.chaos.app import NAME, Run
from tests.support.key_leaks import find_leaks
from tests.support.waiting import wait_until

#: Keys that live as long as their queue, beside those that `find_leaks` knows.
BOUNDED = ("control", "dead")

#: How many keys one command asks for.
CHUNK = 1_000

KEYS = Keys(NAME)


async def wait_quiet(client: Redis, living: int) -> None:
    """Wait until nothing is left to do, and no worker is known but the living.

    Before the last worker leaves: what the dead have left behind is for the living to find.
    """

    async def is_quiet() -> bool:
        if await client.hlen(KEYS.workers) != living:
            return False
        return not any([await client.xlen(stream) for stream in await streams(client)])

    await wait_until(is_quiet, f"empty streams and {living} workers", timeout=20)


async def streams(client: Redis) -> list[str]:
    """Return the names of the queue's streams of work."""
    return cast("list[str]", await client.keys(KEYS.stream("*")))


async def missing_outcomes(client: Redis, accepted: Collection[str]) -> set[str]:
    """Return the jobs that have no outcome in Redis."""
    stored = await stored_outcomes(client, accepted)
    return {job for job, outcome in stored.items() if outcome is None}


async def stored_outcomes(client: Redis, jobs: Collection[str]) -> dict[str, dict[str, Any] | None]:
    """Return the outcome of each job as Redis has it."""
    ids, found = list(jobs), dict[str, dict[str, Any] | None]()
    for at in range(0, len(ids), CHUNK):
        chunk = ids[at : at + CHUNK]
        values = cast("list[str | None]", await client.mget([KEYS.result(job) for job in chunk]))
        found |= {
            job: None if value is None else orjson.loads(value)
            for job, value in zip(chunk, values, strict=True)
        }
    return found


async def check_answers(client: Redis, told: Mapping[str, Run]) -> None:
    """Fail if what an awaiting client was told is not what is kept: each job has one outcome."""
    stored = await stored_outcomes(client, told)
    differing = {
        job: (run, stored[job])
        for job, run in told.items()
        if (kept := stored[job]) is None or tuple(kept["value"]) != tuple(run)
    }
    assert not differing, f"{len(differing)} clients were told another outcome: {differing}"


async def check(client: Redis, accepted: Collection[str]) -> None:
    """Fail if anything is left after all workers have left, or anything is missing."""
    wrong: list[str] = []
    if lost := await missing_outcomes(client, accepted):
        wrong.append(f"{len(lost)} jobs have no outcome, such as {min(lost)}")
    for stream in await streams(client):
        if length := await client.xlen(stream):
            wrong.append(f"{stream} has {length} entries left")
        pending = await client.xpending(stream, GROUP)
        if pending["pending"]:
            wrong.append(f"{stream} has {pending['pending']} deliveries pending")
        consumers = await client.xinfo_consumers(stream, GROUP)
        wrong += [f"{stream} knows {one['name']}, which has left" for one in consumers]
    if delayed := await client.zcard(KEYS.delayed):
        wrong.append(f"{delayed} jobs are still delayed")
    if workers := await client.hkeys(KEYS.workers):
        wrong.append(f"workers that have left are known: {workers}")
    allowed = {KEYS.prefix + name for name in BOUNDED}
    leaks = [key for key in await find_leaks(client) if key not in allowed]
    if leaks:
        wrong.append(f"{len(leaks)} keys never expire, such as {leaks[0]}")
    assert not wrong, "\n".join(wrong)
