"""The queue and the tasks of the applications in this folder."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable

from pydantic import BaseModel

from aiostreamq import Context, Queue, Worker

queue = Queue(name="frameworks", enqueue_timeout=1)
other = Queue(name="other")


class Line(BaseModel):
    """A value that `stream` yields."""

    text: str


@queue.task(timeout="30s")
async def stream(context: Context, lines: int, *, fails: bool = False) -> AsyncIterator[Line]:
    """Stream some lines after a report of progress."""
    await context.progress(0.5, "streaming")
    for number in range(lines):
        yield Line(text=f"line {number}")
    if fails:
        raise ValueError("no more lines")


@queue.task
async def add(one: int, two: int) -> int:
    """Return a sum."""
    return one + two


@queue.task(result_ttl=0)
async def forget() -> None:
    """Leave no result."""


@queue.task
async def last(key: str) -> str:
    """Take a moment, in which the server is events to end."""
    await asyncio.sleep(0.5)
    return key


def workers() -> Iterable[Worker]:
    """Return the embedded workers, if this process is to have one."""
    return [Worker(queue, concurrency=10)] if os.environ.get("EMBEDDED") else []
