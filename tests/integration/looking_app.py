"""The queue that the tests of the command line look into."""

from aiostreamq import Queue

queue = Queue(name="looked-into")


@queue.task
async def add(a: int, b: int = 0) -> int:
    """Give a sum."""
    return a + b


@queue.task
async def fail(text: str) -> None:
    """Fail."""
    raise ValueError(text)
