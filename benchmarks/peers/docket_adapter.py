# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""docket: a wide pool, and a check interval of one millisecond."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import uvloop
from docket import Docket, Worker

from benchmarks.harness import CONCURRENCY, Client, bodies, main

#: At its default of 250 ms no more than four times the concurrency starts a second.
CHECK_INTERVAL = timedelta(milliseconds=1)


async def noop(number: int) -> None:
    """Do nothing but be counted."""
    bodies.note()


async def keep(text: str) -> None:
    """Carry a payload of known size."""


def make_docket(url: str) -> Docket:
    """Return the docket with both tasks registered."""
    docket = Docket(name="bench", url=f"{url}?max_connections=2000")
    docket.register(noop)
    docket.register(keep)
    return docket


class DocketClient(Client):
    """Enqueues in batches through a pipeline."""

    has_bulk = True

    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._docket.add("noop")(number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._docket.add("keep")(text)

    async def enqueue_many(self, count: int) -> object:
        """Enqueue all in one call, which pipelines 1,000 at a time."""
        return await self._docket.add_many(
            self._docket.call("noop")(number) for number in range(count)
        )

    async def round_trip(self, number: int) -> object:
        """Enqueue and wait on pub/sub for the result."""
        execution = await self._docket.add("noop")(number)
        return await execution.get_result()


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[DocketClient]:
    """Open a client for the harness."""
    async with make_docket(url) as docket:
        yield DocketClient(docket)


def work(url: str) -> None:
    """Run one worker process until SIGTERM."""

    async def serve() -> None:
        async with (
            make_docket(url) as docket,
            Worker(
                docket, concurrency=CONCURRENCY, minimum_check_interval=CHECK_INTERVAL
            ) as worker,
        ):
            running = asyncio.ensure_future(worker.run_forever())
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
            with suppress(asyncio.CancelledError):
                await running

    uvloop.run(serve())


if __name__ == "__main__":
    main(connect, work)
