"""When faults come: the one place of the scenarios that waits for time to pass."""

import asyncio
import random


async def pause(seconds: float) -> None:
    """Let things run for a while before the next fault."""
    await asyncio.sleep(seconds)


async def pause_about(seconds: float) -> None:
    """Let things run for a while, shorter or longer, so that faults meet them everywhere."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
