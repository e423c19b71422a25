"""Connections are reset, replies are dropped and cut, everywhere and all the time."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.chaos import app
from tests.chaos.app import Run
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.load import Load
from tests.chaos.mischief import Mischief
from tests.chaos.rhythm import now_and_then, pause_about
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

JOBS = sized(short=600, long=3_000)
BATCH = 10  # jobs for each fault that meets the client
WORKERS = 2
LEASE = 5.0  # a beat may meet several faults in a row

#: Seconds in which every await must have ended.
PATIENCE = 60.0


@pytest.fixture
async def proxies(server: RedisServer) -> AsyncGenerator[tuple[Proxy, Proxy]]:
    """The network of the client, and that of the workers."""
    async with Proxy(server.port) as of_client, Proxy(server.port) as of_workers:
        yield of_client, of_workers


@pytest.fixture
async def load(proxies: tuple[Proxy, Proxy]) -> AsyncGenerator[Load]:
    """The producer, over its network."""
    app.queue.use_url(proxies[0].url)
    await app.queue.open()
    yield Load()
    await app.queue.aclose()


async def enqueue_and_await(load: Load, mischief: Mischief) -> list[asyncio.Future[list[Run]]]:
    """Enqueue all, with a fault for each batch; returns the awaits, which continue."""
    awaits: list[asyncio.Future[list[Run]]] = []
    for _ in range(JOBS // BATCH):
        before = set(load.accepted)
        enqueueing = asyncio.ensure_future(load.one_by_one(BATCH, 0.01, callers=5))
        await pause_about(0.002)
        mischief.once()
        await enqueueing
        jobs = [job for job_id, job in load.accepted.items() if job_id not in before]
        awaits.append(asyncio.gather(*jobs))
    return awaits


async def test_resets_and_dropped_replies(
    proxies: tuple[Proxy, Proxy], fleet: Fleet, load: Load, ending: Ending
) -> None:
    """Each job is there once, runs once, and whoever awaits it is told."""
    of_client, of_workers = Mischief(proxies[0]), Mischief(proxies[1])
    fleet.options += ["--lease", f"{LEASE:g}", "--concurrency", "20"]
    await fleet.start(WORKERS, url=proxies[1].url)
    async with now_and_then(0.05, of_workers.once):
        awaits = await enqueue_and_await(load, of_client)
        hung = await asyncio.wait(awaits, timeout=PATIENCE)
    for proxy in proxies:
        proxy.mend()
    told = await load.outcomes() if not hung[1] else {}
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "resets",
        "enqueues and awaits through resets, dropped and cut replies",
        load.accepted,
        f"{of_client.done} faults for the client, {of_workers.done} for the workers",
        figures={
            "enqueued twice": str(len(book.starts.keys() - load.accepted.keys())),
            "enqueues that raised": str(len(load.uncertain)),
            "hung awaits": str(BATCH * len(hung[1])),
        },
    )
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert len(load.accepted) == len(book.starts) == JOBS
    assert not hung[1]
    await ending.check(load.accepted, told)
