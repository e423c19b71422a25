# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""streaQ: uvloop, a wide pool, silent tasks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from streaq import Worker

from benchmarks.harness import CONCURRENCY, Client, bodies, main

#: Jobs a call of enqueue_many gets; larger calls are slower.
BULK = 500


class Streaq:
    """A worker object, which is streaQ's client too, and its two tasks."""

    def __init__(self, url: str) -> None:
        self.worker: Worker[Any] = Worker(
            redis_url=url,
            # A result that is waited for holds a connection of its own.
            redis_kwargs={"max_connections": 2000},
            concurrency=CONCURRENCY,
            queue_name="bench",
            anyio_kwargs={"use_uvloop": True},
        )

        @self.worker.task(silent=True)
        async def noop(number: int) -> None:
            bodies.note()

        @self.worker.task(silent=True)
        async def keep(text: str) -> None:
            pass

        self.noop, self.keep = noop, keep


class StreaqClient(Client):
    """Enqueues in batches through a pipeline."""

    has_bulk = True

    def __init__(self, streaq: Streaq) -> None:
        self._streaq = streaq

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._streaq.noop.enqueue(number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._streaq.keep.enqueue(text)

    async def enqueue_many(self, count: int) -> None:
        """Enqueue in pipelines of 500."""
        for start in range(0, count, BULK):
            numbers = range(start, min(start + BULK, count))
            tasks = [self._streaq.noop.enqueue(number) for number in numbers]
            await self._streaq.worker.enqueue_many(tasks)

    async def round_trip(self, number: int) -> object:
        """Enqueue and wait on pub/sub for the result."""
        task = await self._streaq.noop.enqueue(number)
        return await task.result(timeout=60)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[StreaqClient]:
    """Open a client for the harness."""
    streaq = Streaq(url)
    async with streaq.worker:
        yield StreaqClient(streaq)


def work(url: str) -> None:
    """Run one worker process; streaQ handles SIGTERM itself."""
    Streaq(url).worker.run_sync()


if __name__ == "__main__":
    main(connect, work)
