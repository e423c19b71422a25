# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""ArdiQ: a core in Rust, the tasks on uvloop; needs Python 3.12."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop
from ardiq import Ardiq

from benchmarks.harness import CONCURRENCY, Client, bodies, main

RESULT_SECONDS = 60

#: Jobs a call of enqueue_many gets; one call of 20,000 is slower.
BULK = 1000


class ArdiqApp:
    """The app and its two tasks."""

    def __init__(self, url: str) -> None:
        self.app = Ardiq(redis_url=url, queue_name="bench", concurrency=CONCURRENCY)

        @self.app.task
        async def noop(number: int) -> None:
            bodies.note()

        @self.app.task
        async def keep(text: str) -> None:
            pass

        self.noop, self.keep = noop, keep


class ArdiqClient(Client):
    """Enqueues a batch in one round trip."""

    has_bulk = True

    def __init__(self, ardiq: ArdiqApp) -> None:
        self._ardiq = ardiq

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._ardiq.noop.enqueue(number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._ardiq.keep.enqueue(text)

    async def enqueue_many(self, count: int) -> None:
        """Enqueue 1,000 in a round trip."""
        prepare = self._ardiq.noop.prepare
        for start in range(0, count, BULK):
            numbers = range(start, min(start + BULK, count))
            await self._ardiq.app.enqueue_many([prepare(number) for number in numbers])

    async def round_trip(self, number: int) -> object:
        """Enqueue and wait for the result."""
        job = await self._ardiq.noop.enqueue(number)
        return await job.result(timeout=RESULT_SECONDS)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[ArdiqClient]:
    """Open a client for the harness; the core connects by itself."""
    yield ArdiqClient(ArdiqApp(url))


def work(url: str) -> None:
    """Run one worker process until SIGTERM."""

    async def serve() -> None:
        app = ArdiqApp(url).app
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop)
        await app.run()

    uvloop.run(serve())


if __name__ == "__main__":
    main(connect, work)
