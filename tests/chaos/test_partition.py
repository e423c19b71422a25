"""The replica loses its master for a while, and is promoted without what it has missed."""

import time
from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from aiostreamq import Queue
from tests.chaos import invariants, sentinel_app
from tests.chaos.app import KEEP, NAME
from tests.chaos.ending import Ending
from tests.chaos.feed import feeding, slowest_resumption
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

PROMOTIONS = sized(short=1, long=5)
PARTITION = 2.0  # seconds
WORKERS = 3
EACH = 0.05  # seconds that a job takes


class Pair:
    """A master and its replica, the link between them, and the way of the clients to them."""

    def __init__(self) -> None:
        self.master = RedisServer("--repl-diskless-sync-delay", "0")
        self.replica = RedisServer("--repl-diskless-sync-delay", "0")
        self.link = Proxy(self.master.port)
        self.front = Proxy(self.master.port)
        self.missed = 0  #: bytes that a replica had not got when it was promoted

    async def join(self) -> None:
        """Let the replica follow the master."""
        self.link.lead_to(self.master.port)
        self.replica.ask("REPLICAOF", "127.0.0.1", str(self.link.port))
        await wait_until(self.is_joined, "the replica to follow its master", timeout=20)

    def is_joined(self) -> bool:
        """Whether the replica follows."""
        return self.master.ask("WAIT", "1", "10") == "1"

    async def promote(self) -> float:
        """Cut the replica off for a while, lose the master; returns when there is a new one."""
        self.link.swallow()
        await pause(PARTITION)
        self.missed += await offset(self.master) - await offset(self.replica)
        self.master.kill()
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.link.forward()
        self.master, self.replica = self.replica, self.master
        self.front.lead_to(self.master.port)
        return time.monotonic()


async def offset(server: RedisServer) -> int:
    """Return how many bytes of changes a server has seen."""
    async with Redis.from_url(server.url) as client:
        info = await client.info("replication")
    key = "master_repl_offset" if info["role"] == "master" else "slave_repl_offset"
    return int(info[key])


@pytest.fixture
async def pair() -> AsyncGenerator[Pair]:
    """Both, the one following the other."""
    pair = Pair()
    with pair.master, pair.replica:
        async with pair.link, pair.front:
            await pair.join()
            yield pair


@pytest.fixture
async def load(pair: Pair) -> AsyncGenerator[Load]:
    """The producer, which waits for the second copy."""
    async with Queue(pair.front.url, name=NAME, durability="replicated") as queue:
        task = queue.task(result_ttl=KEEP, name="work")(sentinel_app.body)
        yield Load(queue, task)


@pytest.fixture
async def fleet(pair: Pair, ledger: Ledger) -> AsyncGenerator[Fleet]:
    """The workers."""
    async with Fleet(pair.front.url, ledger.environment) as fleet:
        yield fleet


async def test_promoted_after_a_partition(
    pair: Pair, fleet: Fleet, load: Load, ledger: Ledger, report: Report
) -> None:
    """What was confirmed by the replica is there, and is done; the rest was not confirmed."""
    await fleet.start(WORKERS)
    moments: list[float] = []
    async with feeding(load, EACH):
        for number in range(PROMOTIONS):
            if number:
                pair.replica.start()
                await pair.join()
            await pause(1.0)
            moments.append(await pair.promote())
        await pause(1.0)
        pair.replica.start()
        await pair.join()
    told = await load.outcomes()
    async with Redis.from_url(pair.master.url, decode_responses=True) as client:
        ending = Ending(client, fleet, ledger, report)
        book = await ending.wind_up(WORKERS)
        missing = await invariants.missing_outcomes(client, load.accepted)

        line = Line(
            "partition",
            f'a {PARTITION:g} s partition, then the replica promoted, durability="replicated"',
            len(load.accepted),
            f"{PROMOTIONS} promotions",
            lost=len(missing | book.lost(load.accepted)),
            duplicates=book.ended_again,
            recovery=slowest_resumption(book, moments),
            figures={
                "bytes that the replica had missed": f"{pair.missed:,}",
                "enqueues that raised": str(len(load.uncertain)),
            },
        )
        report.add(line)
        assert pair.missed > 0, "nothing happened in the partition"
        assert line.lost == 0
        # An enqueue tries for ten seconds, and no partition lasts that long.
        assert not load.uncertain
        await ending.check(load.accepted, told)
