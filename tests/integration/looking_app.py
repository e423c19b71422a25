"""The queue that the tests of the command line look into."""

from datetime import date

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


@queue.task
async def weekday(day: date) -> int:
    """Return the day of the week."""
    return day.isoweekday()
