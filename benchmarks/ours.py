"""aiostreamq itself, through its public face only, as its README shows it."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager

import uvloop

from aiostreamq import Queue, Worker
from benchmarks.harness import CONCURRENCY, Client, bodies, main


class Bench:
    """The queue and its tasks."""

    def __init__(self, url: str) -> None:
        self.queue = Queue(url, name="bench")

        @self.queue.task(name="noop")
        async def noop(number: int) -> None:
            bodies.note()

        @self.queue.task(name="keep")
        async def keep(text: str) -> None:
            pass

        @self.queue.task(name="stream")
        async def stream(chunks: int) -> AsyncGenerator[str, None]:
            for number in range(chunks):
                yield f"token {number}"

        self.noop, self.keep = noop, keep


class OurClient(Client):
    """All defaults: nothing is tuned for the measurements."""

    has_bulk = True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._bench.noop.enqueue(number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._bench.keep.enqueue(text)

    async def enqueue_many(self, count: int) -> object:
        """Enqueue all in one call, which takes any number."""
        noop = self._bench.noop
        return await self._bench.queue.enqueue_many(noop.bind(number) for number in range(count))

    async def round_trip(self, number: int) -> object:
        """Enqueue and await the job."""
        job = await self._bench.noop.enqueue(number)
        return await job

    async def start_waiting(self, count: int) -> list[Awaitable[object]]:
        """Enqueue in bulk; every job can be awaited."""
        noop = self._bench.noop
        return [*await self._bench.queue.enqueue_many(noop.bind(number) for number in range(count))]


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[OurClient]:
    """Open a client for the harness."""
    bench = Bench(url)
    async with bench.queue:
        yield OurClient(bench)


def work(url: str) -> None:
    """Run one worker process until SIGTERM."""

    async def serve() -> None:
        worker = Worker(Bench(url).queue, concurrency=CONCURRENCY)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()

    uvloop.run(serve())


if __name__ == "__main__":
    main(connect, work)
