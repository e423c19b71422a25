"""A queue whose tasks log in every place a task can run: `run tests.support.logging_app:queue`."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextvars import copy_context

from aiostreamq import Context, Drop, GiveUp, Queue, Retry, RetryLater

queue = Queue(name="logging")

logger = logging.getLogger("app.tasks")


def note(where: str) -> None:
    """Log a line as user code does."""
    logger.info("hello from %s", where, extra={"tenant": 7})


@queue.task
async def on_loop() -> None:
    """Log, and in a task of asyncio's too."""
    note("loop")
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(note, "own thread"))


@queue.task
def in_thread() -> None:
    """Log, and from a thread that runs in a copy of the context."""
    note("thread")
    thread = threading.Thread(target=copy_context().run, args=(note, "thread of a thread"))
    thread.start()
    thread.join()


@queue.task(executor="process")
def in_process() -> None:
    """Log."""
    note("process")


@queue.task
async def as_stream() -> AsyncIterator[int]:
    """Log between two values."""
    yield 1
    note("stream")
    yield 2


@queue.task(retry=Retry(2, base=0.01))
async def fail_twice(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@queue.task(executor="process")
def fail_in_process(message: str) -> None:
    """Raise."""
    raise ValueError(message)


@queue.task(timeout=0.05)
async def take_long() -> None:
    """Run past the timeout."""
    await asyncio.sleep(60)


@queue.task
async def give_up() -> None:
    """End as dead."""
    raise GiveUp("no use")


@queue.task
async def drop() -> None:
    """End without a result."""
    raise Drop("not needed")


@queue.task
async def later(context: Context) -> None:
    """Run again."""
    if context.attempt == 1:
        raise RetryLater(0.01)


@queue.task
async def nothing() -> None:
    """Return."""


@queue.task
def sleep(seconds: float) -> None:
    """Hold a thread."""
    time.sleep(seconds)
