"""A program that takes a lock again and again.

    python -m tests.integration.locks_app URL TASKS LEASE

Each holder writes "in <fence> <ms>" to the list `ledger`, and "out ..." at its end. The time is
that of Redis.
"""

import asyncio
import sys

from redis.asyncio import Redis

from aiostreamq import LockLost, Queue


async def note(client: Redis, event: str, fence: int) -> None:
    """Write a line with the time of Redis."""
    line = f"{event} {int(fence)}"
    await client.eval(
        "local t = redis.call('TIME') return redis.call('RPUSH', 'ledger', ARGV[1] .. ' ' .. "
        "string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))",
        0,
        line,
    )


async def work(queue: Queue, client: Redis, lease: float) -> None:
    """Hold the lock for some turns, until the program ends."""
    while True:
        try:
            async with queue.lock("nightly", lease=lease) as fence:
                await note(client, "in", fence)
                await note(client, "out", fence)
        except LockLost:
            await client.incr("lost")


async def main(url: str, tasks: str, lease: str) -> None:
    """Run this number of tasks."""
    async with Queue(url) as queue, Redis.from_url(url) as client, asyncio.TaskGroup() as group:
        for _ in range(int(tasks)):
            group.create_task(work(queue, client, float(lease)))
        sys.stdout.write("up\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
