"""The tasks that test_recovery runs in worker processes."""

import asyncio
import os
import time
from pathlib import Path

from aiostreamq import Context, Queue

queue = Queue(name="recovery")


def note(context: Context, event: str) -> None:
    """Write a line into the ledger, which lies outside Redis and all processes."""
    line = f"{context.job_id} {context.attempt} {os.getpid()} {event}\n"
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(line)


@queue.task
async def nap(context: Context, seconds: float) -> int:
    """Sleep a while; the value names the process."""
    note(context, "start")
    await asyncio.sleep(seconds)
    note(context, "end")
    return os.getpid()


@queue.task
async def block(context: Context, seconds: float) -> int:
    """Stop the event loop, as no task should."""
    note(context, "start")
    time.sleep(seconds)  # noqa: ASYNC251  # that is the point
    return os.getpid()


@queue.task
async def crash(context: Context) -> None:
    """Take the whole process along."""
    note(context, "start")
    os._exit(1)
