"""The tasks that test_supervisor runs in worker processes."""

import asyncio
import os
import time

from aiostreamq import Context, Queue
from tests.integration.recovery_app import note
from tests.support.seizing import seize_interpreter

queue = Queue(name="supervised")

kept: list[bytearray] = []


@queue.task
async def nap(context: Context, seconds: float) -> int:
    """Sleep a while; the value names the process."""
    note(context, "start")
    await asyncio.sleep(seconds)
    note(context, "end")
    return os.getpid()


@queue.task
async def grow(megabytes: int) -> int:
    """Take memory and keep it."""
    kept.append(bytearray(os.urandom(1024) * 1024 * megabytes))
    return os.getpid()


@queue.task
async def block_once(context: Context, seize: bool) -> int:
    """Stop the event loop when first run, and all threads with it if it is to *seize*."""
    note(context, "start")
    if context.delivery == 1 and seize:
        seize_interpreter()
    elif context.delivery == 1:
        time.sleep(3600)  # noqa: ASYNC251  # that is the point
    return os.getpid()


@queue.task
async def block(context: Context) -> None:
    """Stop the event loop for good."""
    note(context, "start")
    time.sleep(3600)  # noqa: ASYNC251  # that is the point
