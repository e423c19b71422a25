"""A process that cancels jobs: `python -m tests.support.canceller URL NAME`, ids on standard input.

Prints a line for each answer: the id, the state that the job was in, and when the answer was there
by the machine's monotonic clock. It cancels several at once, so that a kill meets some of them.
"""

import asyncio
import os
import sys
import time

from aiostreamq import Queue

CALLERS = 8


async def main(url: str, name: str, ids: list[str]) -> None:
    """Cancel all jobs, in this order."""
    left = iter(ids)
    async with Queue(url, name=name) as queue:

        async def call() -> None:
            for job_id in left:
                state = await queue.job(job_id).cancel()
                # One call a line, so that a kill leaves none half written.
                os.write(sys.stdout.fileno(), f"{job_id} {state} {time.monotonic()}\n".encode())

        await asyncio.gather(*(call() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.stdin.read().split()))
