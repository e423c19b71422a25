"""Load that continues while faults come, and how soon work continues after them."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from tests.chaos.ledger import Book
from tests.chaos.load import Load
from tests.chaos.rhythm import pause

#: How many jobs come at once, and seconds until the next.
BATCH = 10
EVERY = 0.04


@asynccontextmanager
async def feeding(load: Load, seconds: float) -> AsyncGenerator[None]:
    """Enqueue jobs that take *seconds* each, a call a job, until the end of the block."""
    is_over = False

    async def feed() -> None:
        while not is_over:
            await load.one_by_one(BATCH, seconds, callers=BATCH)
            await pause(EVERY)

    feed_task = asyncio.ensure_future(feed())
    try:
        yield
    finally:
        is_over = True
        await feed_task


def slowest_resumption(book: Book, moments: Iterable[float]) -> float:
    """Return the longest time from one of *moments* to the next start of a body."""
    starts = sorted(event.at for event in book.events if event.kind == "start")
    return max(next(at - moment for at in starts if at > moment) for moment in moments)
