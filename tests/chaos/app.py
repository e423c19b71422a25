"""The queue of the scenarios: `python -m aiostreamq run tests.chaos.app:queue`."""

import asyncio
import ctypes
import os
import resource
import signal
import time
from collections.abc import AsyncIterator

from aiostreamq import Context, Queue
from tests.chaos.ledger import note, noted

NAME = "chaos"

#: Seconds; longer than any scenario by any clock, so that all outcomes can be looked at when it
#: is over. One steps Redis's clock by two hours.
KEEP = 4 * 3600.0

queue = Queue(name=NAME)

#: What a run tells about itself: process, delivery, attempt.
Run = tuple[int, int, int]


def run_of(context: Context) -> Run:
    """Return what a run tells about itself as its value."""
    return os.getpid(), context.delivery, context.attempt


@queue.task(result_ttl=KEEP)
async def work(context: Context, seconds: float = 0.0) -> Run:
    """Take a while."""
    with noted(context):
        if seconds:
            await asyncio.sleep(seconds)
    return run_of(context)


@queue.task(result_ttl=KEEP)
async def work_aside(context: Context, seconds: float = 0.0) -> Run:
    """Do the same by a name of its own, to be paused by."""
    return await work(context, seconds)


@queue.task(result_ttl=KEEP)
async def work_in_bulk(context: Context, seconds: float = 0.0) -> Run:
    """Do the same by another name, to be cancelled by."""
    return await work(context, seconds)


@queue.task(result_ttl=KEEP)
async def follow(context: Context, seconds: float, version: int) -> int:
    """Take a while, and say which version this is about."""
    await work(context, seconds)
    return version


@queue.task(result_ttl=KEEP)
async def carry(context: Context, payload: str, size: int) -> str:
    """Take a payload, and return one of *size* characters."""
    with noted(context):
        await asyncio.sleep(0.02)
    assert set(payload) <= {"x"}
    return "y" * size


@queue.task(result_ttl=KEEP)
async def fail(context: Context, seconds: float = 0.0) -> Run:
    """Take a while, and raise."""
    with noted(context):
        await asyncio.sleep(seconds)
        raise ValueError("on purpose")


@queue.task(result_ttl=KEEP)
async def call_back(context: Context) -> str | None:
    """Be called by the end of another job."""
    with noted(context):
        return context.parent


@queue.task(result_ttl=KEEP)
async def block(context: Context, seconds: float) -> Run:
    """Hold the event loop as no task should, the first time it is run."""
    with noted(context):
        if context.delivery == 1:
            time.sleep(seconds)  # noqa: ASYNC251  # that is the point
    return run_of(context)


@queue.task(result_ttl=KEEP)
async def exit_at_once(context: Context) -> None:
    """Take the process along without a word."""
    note(context, "start")
    os._exit(1)


@queue.task(result_ttl=KEEP)
async def segfault(context: Context) -> None:
    """Read where nothing is."""
    note(context, "start")
    ctypes.string_at(0)


@queue.task(result_ttl=KEEP)
async def kill_itself(context: Context) -> None:
    """End as the kernel's OOM killer ends a process."""
    note(context, "start")
    os.kill(os.getpid(), signal.SIGKILL)


@queue.task(result_ttl=KEEP)
async def eat_memory(context: Context, limit_mb: int) -> None:
    """Take memory up to a limit, and end there."""
    note(context, "start")
    limit = limit_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    eaten: list[bytearray] = []
    try:
        while True:
            eaten.append(bytearray(1 << 20))
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)


@queue.task(result_ttl=2.0)
async def nothing() -> None:
    """Do nothing, and leave no trace in the ledger: what is measured is the queue."""


@queue.task(result_ttl=KEEP)
async def tell(context: Context, chunks: int, seconds: float) -> AsyncIterator[tuple[int, int]]:
    """Yield which delivery this is, and a number from 0, some of them at once."""
    with noted(context):
        for number in range(chunks):
            yield context.delivery, number
            if number % 3 == 0:
                await asyncio.sleep(seconds)


@queue.task(result_ttl=KEEP)
async def tell_progress(context: Context, reports: int, seconds: float) -> Run:
    """Say the same as progress."""
    with noted(context):
        for number in range(reports):
            await context.progress(number / reports, delivery=context.delivery, number=number)
            if number % 3 == 0:
                await asyncio.sleep(seconds)
    return run_of(context)
