"""Large payloads, in and out, over a slow network, while workers are killed."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.chaos import invariants
from tests.chaos.app import carry, queue
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

JOBS = sized(short=60, long=600)
KILLS = sized(short=2, long=15)
WORKERS = 2
CONCURRENCY = 20

#: Bytes of payloads, of arguments and of results.
SIZES = (10, 10, 10, 3_000, 50_000, 300_000, 1_000_000)

#: Bytes per second that workers can send: 64 Mbit/s.
RATE = 8_000_000

#: Bytes that a connection may send ahead.
WINDOW = 65_536

#: Seconds in which all jobs must have ended.
PATIENCE = sized(short=120.0, long=600.0)

#: Limits of Redis, well below its own: a host may set such.
LIMITS = (
    ("client-query-buffer-limit", "2000000"),
    ("client-output-buffer-limit", "normal 8000000 0 0"),
)


@pytest.fixture
async def slow(server: RedisServer) -> AsyncIterator[Proxy]:
    """The network of the workers."""
    for limit in LIMITS:
        server.ask("CONFIG", "SET", *limit)
    async with Proxy(server.port, window=WINDOW) as proxy:
        proxy.request_rate = RATE
        yield proxy


async def test_large_payloads(
    client: Redis, server: RedisServer, slow: Proxy, fleet: Fleet, ledger: Ledger, ending: Ending
) -> None:
    """All jobs end, with their results, and no payload is sent for ever."""
    queue.use_url(server.url)
    fleet.options += ["--concurrency", f"{CONCURRENCY}", "--max-held-bytes", "8mb", "--lease", "3"]
    fleet.options += ["--max-worker-deaths", f"{KILLS + 1}"]  # by chance, one may meet many
    chosen = [(random.choice(SIZES), random.choice(SIZES)) for _ in range(JOBS)]
    faults: list[Fault] = []
    async with queue:
        await fleet.start(WORKERS, url=slow.url)
        jobs = await queue.enqueue_many(carry.bind("x" * sent, size) for sent, size in chosen)
        awaits = asyncio.gather(*jobs)
        for _ in range(KILLS):
            await pause(1.0)
            faults.append(await fleet.kill(random.choice(fleet.living)))
            await fleet.start(url=slow.url)
        async with asyncio.timeout(PATIENCE):
            results = await awaits

    async def are_forgotten() -> bool:
        return await client.hlen(invariants.KEYS.workers) == WORKERS

    await wait_until(
        are_forgotten, "the killed workers to be found dead"
    )  # they may have had no job
    # Workers that leave give a slow Redis some seconds, and then stay known for a lease. How they
    # leave is not of this test.
    slow.request_rate = 0
    # The checks look at all results at once.
    server.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    accepted = {job.id: job for job in jobs}
    book = await ending.wind_up(WORKERS)

    results_bytes = sum(size for _, size in chosen)
    line = ending.report(
        "bytes",
        "payloads of up to 1 MB in and out over 64 Mbit/s, low limits of Redis",
        accepted,
        f"{KILLS} kill -9",
        figures={
            "MB of arguments and results": f"{sum(map(sum, chosen)) / 1e6:.0f}",
            "sent by workers, times their results": f"{slow.request_bytes / results_bytes:.2f}",
        },
    )
    assert [len(result) for result in results] == [size for _, size in chosen]
    assert line.lost == 0
    assert book.started_again <= ending.may_run_again(faults, CONCURRENCY)
    await ending.check(accepted)
