"""Keys that would stay in Redis for ever."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

#: Patterns of the keys that live as long as their queue, each with its reason.
PERMANENT = {
    "aiostreamq:{*}:dead": "bounded by length and age, so that letters can be read for long",
    "aiostreamq:{*}:bell": "one entry at most, which wakes a worker",
    "aiostreamq:{*}:floor": "one number, so that backlogs take turns",
    "aiostreamq:{*}:limit*": "rules of limits, of the code and of operators",
    "aiostreamq:{*}:lock_fence": "one number, so that fences never fall",
    "aiostreamq:{*}:place": "one number, so that held jobs keep their order",
    "aiostreamq:{*}:parked": "names the tasks that work waits for, and goes with that",
    "aiostreamq:{*}:parked:*": "work waits there for as long as it takes",
    "aiostreamq:{*}:paused": "what is paused stays so, whoever starts or ends",
    "aiostreamq:{*}:schedule:*": "one for each schedule, until that is deleted",
    "aiostreamq:{*}:schedule_due*": "names of schedules, until they are deleted",
    "aiostreamq:{*}:schedules": "schedules, until they are deleted",
    "aiostreamq:{*}:totals": "counters that never fall, of a bounded number of tasks",
    "aiostreamq:{*}:unique": "keys of open jobs, and for a while of ended ones",
    "aiostreamq:{*}:stream:*": "a stream and its group outlive the jobs in it",
}


async def find_leaks(client: Redis) -> list[str]:
    """Return the keys that neither expire nor are permanent by design."""
    scan: AsyncIterator[bytes | str]
    scan = client.scan_iter(count=1_000)  # pyright: ignore[reportUnknownVariableType] - untyped there
    keys = [key async for key in scan]
    names = {key: key.decode() if isinstance(key, bytes) else key for key in keys}
    suspects = [
        key
        for key, name in names.items()
        if not any(fnmatchcase(name, pattern) for pattern in PERMANENT)
    ]
    async with client.pipeline(transaction=False) as pipeline:
        for key in suspects:
            pipeline.pttl(key)
        left: list[int] = await pipeline.execute()
    # -1: no expiry. -2, gone since the scan, is what is hoped for.
    return sorted(names[key] for key, pttl in zip(suspects, left, strict=True) if pttl == -1)
