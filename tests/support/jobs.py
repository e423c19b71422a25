"""A queue for workers that are processes of their own: `run tests.support.jobs:queue`."""

import asyncio
import time
from pathlib import Path

from aiostreamq import Context, Queue

queue = Queue(name="jobs")

VERSION = "what is no queue"


@queue.task
async def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


@queue.task
async def fail(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@queue.task
async def wait_for_file(path: str) -> str:
    """Run until there is a file."""
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240  # nobody else is in this process
        await asyncio.sleep(0.005)
    return path


@queue.task
def block_for_file(path: str) -> str:
    """Hold a thread until there is a file."""
    while not Path(path).exists():
        time.sleep(0.005)
    return path


@queue.task
async def who(context: Context) -> str:
    """Return the name of the worker."""
    return context.worker
