"""A process with several workers of the queue of the scenarios.

python -m tests.chaos.many_workers URL COUNT LEASE CONCURRENCY
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from aiostreamq import Worker
from tests.chaos.app import queue

#: The line that is printed when all workers have joined.
READY = "all workers are ready"


async def main(url: str, count: int, lease: float, concurrency: int) -> None:
    """Run workers until the process is killed, or its standard input ends."""
    queue.use_url(url)
    async with queue, AsyncExitStack() as stack:
        for _ in range(count):
            worker = Worker(queue, lease=lease, concurrency=concurrency)
            await stack.enter_async_context(worker)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
