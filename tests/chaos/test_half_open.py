"""The network is slow, loses connections, or forgets them without a word."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import cast

import pytest
from redis.asyncio import Redis

from aiostreamq import Job, Queue
from aiostreamq.model.keys import GROUP
from aiostreamq.store.connection.connector import REPLY_TIMEOUT
from aiostreamq.worker.settings import LEASE
from tests.chaos import app, invariants
from tests.chaos.app import NAME, Run
from tests.chaos.ending import Ending
from tests.chaos.fleet import SLACK, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROUNDS = sized(short=1, long=3)  # of connections that are forgotten
JOBS = 10  # that run then, and as many that are sent into the dead connection

RESETS = sized(short=1, long=20)
LATENCY = 0.2  # seconds, each way
RESET_CHANCE = 0.01  # of each chunk
SLOW_LEASE = 5.0  # a connection is set up in five round trips, which are two seconds there


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncGenerator[Proxy]:
    """The network."""
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def load(proxy: Proxy) -> AsyncGenerator[Load]:
    """The producer, over that network."""
    app.queue.use_url(proxy.url)
    await app.queue.open()
    yield Load()
    await app.queue.aclose()


async def pending(client: Redis) -> int:
    """Return how many deliveries have not ended."""
    found = [await client.xpending(stream, GROUP) for stream in await invariants.streams(client)]
    return sum(one["pending"] for one in found)


async def strand(
    proxy: Proxy, server: RedisServer, client: Redis, load: Load, ledger: Ledger
) -> tuple[int, float, float]:
    """Let the open connections die silently while jobs run and more are sent.

    Returns how many jobs went into the dead connection, the seconds until all of those had
    started, and until the client beyond it had what it awaited.
    """
    known = ledger.count("start")
    before = set(load.accepted)
    await load.bulk(JOBS, 3.0)
    running = [load.accepted[job] for job in load.accepted.keys() - before]
    awaiting = asyncio.ensure_future(asyncio.gather(*running))
    await wait_until(lambda: ledger.count("start") == known + JOBS, "all to run")
    async with Queue(server.url, name=NAME) as other:
        proxy.strand()
        moment = time.monotonic()
        sent = await asyncio.gather(*[other.enqueue(app.work.name, 0.05) for _ in range(JOBS)])
        into_it = await pending(client) - JOBS
        beyond = [cast("Job[Run]", app.queue.job(job.id)) for job in sent]
        load.accepted |= {job.id: job for job in beyond}
        await asyncio.gather(*sent, *beyond)
    starts = ledger.book().starts
    slowest = max(starts[job.id][0].at for job in sent) - moment
    await awaiting
    return into_it, slowest, time.monotonic() - moment


async def test_half_open_connections(
    server: RedisServer,
    proxy: Proxy,
    client: Redis,
    fleet: Fleet,
    load: Load,
    ledger: Ledger,
    ending: Ending,
) -> None:
    """With its real timeouts a worker finds out in time to keep its lease, and has it all."""
    fleet.options += ["--lease", f"{LEASE:g}", "--concurrency", str(4 * JOBS)]
    await fleet.start(url=proxy.url)
    rounds = [await strand(proxy, server, client, load, ledger) for _ in range(ROUNDS)]
    told = await load.outcomes()
    await fleet.start()  # has nothing to recover
    book = await ending.wind_up(2)

    line = ending.report(
        "half-open",
        f"half-open connections, lease {LEASE:g} s, timeout {REPLY_TIMEOUT:g} s",
        load.accepted,
        f"{ROUNDS} times all connections forgotten",
        recovery=max(slowest for _, slowest, _ in rounds),
        figures={
            "sent into a dead connection": str(sum(into_it for into_it, _, _ in rounds)),
            "client told after": f"{max(told for _, _, told in rounds):.1f} s",
        },
    )
    assert all(into_it == JOBS for into_it, _, _ in rounds), "jobs went elsewhere"
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert max(slowest for _, slowest, _ in rounds) <= LEASE + SLACK
    assert max(told for _, _, told in rounds) <= 2 * REPLY_TIMEOUT + SLACK
    assert not fleet.taken_for_dead
    await ending.check(load.accepted, told)


async def test_slow_network(proxy: Proxy, fleet: Fleet, load: Load, ending: Ending) -> None:
    """Latency and resets make it slow, and nothing else."""
    fleet.options += ["--lease", f"{SLOW_LEASE:g}", "--concurrency", "20"]
    await fleet.start(2, url=proxy.url)
    proxy.delay, proxy.reset_chance = LATENCY, RESET_CHANCE
    slowest = 0.0
    while proxy.resets < RESETS:
        started = time.monotonic()
        await load.bulk(20, 0.05)
        told = await load.outcomes()
        slowest = max(slowest, time.monotonic() - started)
    proxy.delay = proxy.reset_chance = 0.0
    await pause(2 * LATENCY)  # what is on its way arrives, and none of it after the workers' end
    told = await load.outcomes()
    book = await ending.wind_up(2)

    line = ending.report(
        "slow-network",
        f"{LATENCY * 1000:g} ms each way, {RESET_CHANCE:.0%} of chunks reset their connection",
        load.accepted,
        f"{proxy.resets} resets",
        recovery=slowest,
        figures={"lease": f"{SLOW_LEASE:g} s"},
    )
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert slowest <= 2 * REPLY_TIMEOUT
    assert not fleet.taken_for_dead
    await ending.check(load.accepted, told)
