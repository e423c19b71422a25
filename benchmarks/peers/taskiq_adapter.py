# pyright: basic, reportMissingImports=false
# The library is installed in its own environment only, not where this is checked.

"""taskiq: the stream store, orjson both ways, results polled twice a millisecond."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import start_listen
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.harness import CONCURRENCY, Client, bodies, main

POLL_SECONDS = 0.0005
RESULT_TTL_MS = 300_000


async def noop(number: int) -> None:
    """Do nothing but be counted."""
    bodies.note()


async def keep(text: str) -> None:
    """Carry a payload of known size."""


def make_broker(url: str) -> RedisStreamBroker:
    """Return the store; results get a time to live, as everywhere else."""
    results = RedisAsyncResultBackend(
        url,
        serializer=ORJSONSerializer(),
        result_px_time=RESULT_TTL_MS,
        prefix_str="result",
        socket_timeout=None,
    )
    # Between two reads it takes a lock and looks for lost jobs, so few large
    # reads are quicker than its hundred at a time.
    store = RedisStreamBroker(url, xread_count=1000, socket_timeout=None)
    return store.with_result_backend(results).with_serializer(ORJSONSerializer())


class TaskiqClient(Client):
    """taskiq has no bulk call."""

    def __init__(self, store: RedisStreamBroker) -> None:
        self._noop = store.register_task(noop, task_name="noop")
        self._keep = store.register_task(keep, task_name="keep")

    async def enqueue(self, number: int) -> object:
        """Enqueue one job."""
        return await self._noop.kiq(number)

    async def enqueue_text(self, text: str) -> object:
        """Enqueue one larger job."""
        return await self._keep.kiq(text)

    async def round_trip(self, number: int) -> object:
        """Enqueue and poll for the result."""
        task = await self._noop.kiq(number)
        return await task.wait_result(check_interval=POLL_SECONDS)


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[TaskiqClient]:
    """Open a client for the harness."""
    store = make_broker(url)
    client = TaskiqClient(store)
    await store.startup()
    try:
        yield client
    finally:
        await store.shutdown()


def work(url: str) -> None:
    """Run what ``taskiq worker --workers 1`` starts in its child process.

    Called directly, so that the parent, which only supervises, is not in the
    memory figure. It installs uvloop and its own SIGTERM handler.
    """
    store = make_broker(url)
    store.register_task(noop, task_name="noop")
    store.register_task(keep, task_name="keep")
    start_listen(
        WorkerArgs(
            store=store,  # start_listen takes the object as well as its name
            modules=[],
            no_parse=True,
            max_async_tasks=CONCURRENCY,
            configure_logging=False,
        )
    )


if __name__ == "__main__":
    main(connect, work)
