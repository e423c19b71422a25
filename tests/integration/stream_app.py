"""Tasks that stream in worker processes: `run tests.integration.stream_app:queue`."""

import asyncio
from collections.abc import AsyncIterator

from aiostreamq import Context, Queue

queue = Queue(name="streams")


@queue.task(result_ttl="1m")
async def count(numbers: int, pause: float = 0.0) -> AsyncIterator[int]:
    """Yield numbers from 0, with a pause in seconds between two."""
    for number in range(numbers):
        yield number
        if pause:
            await asyncio.sleep(pause)


@queue.task(result_ttl="1m")
async def stall(context: Context, numbers: int) -> AsyncIterator[int]:
    """Yield numbers from 0; the first run then continues for ever."""
    for number in range(numbers):
        yield number
    if context.delivery == 1:
        await asyncio.Event().wait()
