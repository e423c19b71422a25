"""When faults come: the one place of the scenarios that waits for time to pass."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress


async def pause(seconds: float) -> None:
    """Let things run for a while before the next fault."""
    await asyncio.sleep(seconds)


async def pause_about(seconds: float) -> None:
    """Let things run for a while, shorter or longer, so that faults meet them everywhere."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))


@asynccontextmanager
async def now_and_then(seconds: float, *ways: Callable[[], object]) -> AsyncGenerator[None]:
    """Do one of several things about every so many seconds, until the end of the block.

    What one of them raises is raised there.
    """

    async def go_on() -> None:
        while True:
            await pause_about(seconds)
            random.choice(ways)()

    going_on = asyncio.ensure_future(go_on())
    try:
        yield
    finally:
        going_on.cancel()
        with suppress(asyncio.CancelledError):
            await going_on
