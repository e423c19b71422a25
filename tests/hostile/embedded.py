"""A program with a worker in it: `python -m tests.hostile.embedded URL [wait]`."""

import asyncio
import sys
from collections.abc import AsyncIterator

from aiostreamq import JobError, Queue, Worker
from tests.hostile.zoo import close_never, never_close, swallow

queue = Queue(name="embedded")


@queue.task
async def swallow_all() -> None:
    """Run for ever."""
    await swallow()


@queue.task
async def clean_up_for_ever() -> None:
    """Run until cancelled, and then for ever."""
    await close_never()


@queue.task
async def stream_for_ever() -> AsyncIterator[int]:
    """The same."""
    async for one in never_close():
        yield one


@queue.task
async def interrupt_on_loop() -> None:
    """Raise what a Ctrl-C would."""
    raise KeyboardInterrupt


@queue.task
def interrupt_in_thread() -> None:
    """Raise what a Ctrl-C would, where none can be."""
    raise KeyboardInterrupt


def say(what: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def main(*, waits: bool) -> None:
    """Run some jobs, and leave while others do not end."""
    try:
        async with queue, Worker(queue, shutdown_timeout=0.1):
            for task in (interrupt_on_loop, interrupt_in_thread):
                try:
                    await (await task.enqueue()).result(timeout=60)
                except JobError as error:
                    say(str(error))
            endless = (swallow_all, clean_up_for_ever, stream_for_ever)
            jobs = [await task.enqueue() for task in endless]
            while {await job.status() for job in jobs} != {"running"}:  # noqa: ASYNC110
                await asyncio.sleep(0)
            say("ready")
            if waits:
                await asyncio.Event().wait()
    finally:
        say("left")


if __name__ == "__main__":
    queue.use_url(sys.argv[1])
    asyncio.run(main(waits="wait" in sys.argv))
