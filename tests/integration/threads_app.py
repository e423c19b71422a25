"""The tasks that test_threads runs in worker processes."""

import threading

from aiostreamq import Queue

queue = Queue(name="threads")


@queue.task(timeout=0.2)
def hang() -> None:
    """Run on after the timeout, for good."""
    threading.Event().wait()


@queue.task
def add(one: int, other: int) -> int:
    """Need a thread for a moment."""
    return one + other


@queue.task
async def double(number: int) -> int:
    """Need no thread."""
    return 2 * number
