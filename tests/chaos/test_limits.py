"""Jobs under limits, while workers are killed and stopped, and Redis is restarted."""

import asyncio
import itertools
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from typing import NamedTuple, cast

import pytest
from redis.asyncio import Redis

from aiostreamq.model.keys import ADMITTED
from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, SLACK, Fault, Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.ledger import Book, Ledger
from tests.chaos.limits_app import A_SECOND, MOST, queue, start, work
from tests.chaos.load import Load
from tests.chaos.rhythm import pause_about
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

APP = "tests.chaos.limits_app:queue"

WORKERS = 4
SLOTS = 10  # of each worker

#: How many keys there are, and jobs of each; seconds that a job takes.
KEY_COUNT = sized(short=30, long=300)
EACH_KEY = sized(short=25, long=60)
EACH = 0.1

#: How many workers are killed, and stopped past their lease; how often Redis is restarted.
KILLS = sized(short=3, long=30)
STOPS = sized(short=1, long=10)
RESTARTS = sized(short=1, long=4)

#: How many jobs start at a rate, and how many workers are killed in between.
RATED = sized(short=600, long=6_000)
RATED_KILLS = sized(short=2, long=10)


@pytest.fixture
def server() -> Generator[RedisServer]:
    """A Redis that has written down whatever it has written yes to."""
    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture
async def load(server: RedisServer) -> AsyncGenerator[Load]:
    """The producer, in this process."""
    queue.use_url(server.url)
    await queue.open()
    yield Load(queue)
    await queue.aclose()


class Trouble:
    """Kills and stops workers and Redis, and looks how soon permits come back.

    Args:
        fleet: The workers.
        server: The Redis.
        client: Looks into it.
        ledger: The lines that the workers have written.
        keys: The keys of jobs that need permits, by id.
    """

    def __init__(
        self,
        fleet: Fleet,
        server: RedisServer,
        client: Redis,
        ledger: Ledger,
        keys: Mapping[str, int],
    ) -> None:
        self._fleet, self._server, self._client, self._ledger = fleet, server, client, ledger
        self._keys = keys
        self.faults: list[Fault] = []
        self.returns = [0.0]  #: seconds until the permits were back that a worker had

    async def make(self, kills: int, stops: int, restarts: int) -> None:
        """Do this many of each, in any order."""
        deeds = [self._kill] * kills + [self._stop] * stops + [self._restart] * restarts
        for deed in random.sample(deeds, len(deeds)):
            await pause_about(0.5)
            await deed()

    async def _kill(self) -> None:
        self.faults += await kill_at_random(self._fleet, 1, app=APP, then=self._wait)

    async def _stop(self) -> None:
        victim = random.choice(self._fleet.living)
        fault = self._fleet.stop(victim)
        await self._wait(fault)
        self._fleet.go_on(victim)
        self.faults.append(fault)

    async def _restart(self) -> None:
        self._server.kill()
        self._server.start()
        await self._client.connection_pool.disconnect()

    async def _wait(self, fault: Fault) -> None:
        """Wait until no permit is left of what a worker had when it was hit."""
        had = self._ledger.book().in_flight(fault)

        async def are_back() -> bool:
            async with self._client.pipeline(transaction=False) as pipeline:
                for run in had:
                    permits = f"{KEYS.prefix}permits:c=work.key:{self._keys[run.job]}"
                    pipeline.zscore(permits, f"{run.job} {run.delivery}")
                return not any(cast("list[str | None]", await pipeline.execute()))

        if self._keys:
            await wait_until(are_back, "the permits of a worker that was hit", timeout=20)
            self.returns.append(time.monotonic() - fault.at)


def most_at_once(book: Book, keys: Mapping[str, int], faults: Iterable[Fault]) -> int:
    """Return how many bodies of one key living workers had at once, at the most.

    One whose worker was hit counts for half a lease more: sooner, no worker takes its job. One that
    was taken without a fault is left out, as no worker has written down when.
    """
    hit = {(run.job, run.delivery): fault.at for fault in faults for run in book.in_flight(fault)}
    over = {(one.job, one.delivery): one.at for one in book.events if one.kind != "start"}
    changes: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    for job, starts in book.starts.items():
        for begun in starts:
            run = (job, begun.delivery)
            end = hit[run] + LEASE / 2 if run in hit else over.get(run, begun.at)
            changes[keys[job]] += [(begun.at, 1), (end, -1)]
    return max(
        max(itertools.accumulate(change for _, change in sorted(times)))
        for times in changes.values()
    )


async def left_by_limits(client: Redis) -> list[str]:
    """Return the keys of limits that are left."""
    kinds = ("permits:*", "backlog:*", "blocked:*", "ready", "due", "held")
    found = [await client.keys(KEYS.prefix + kind) for kind in kinds]
    return list(itertools.chain(*cast("list[list[str]]", found)))


async def test_concurrency(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """No key has more bodies than it may have, permits come back in time, and nothing is lost."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS, app=APP)
    pairs = [key for key in range(KEY_COUNT) for _ in range(EACH_KEY)]
    random.shuffle(pairs)
    ids = await load.give(work.bind(key, EACH) for key in pairs)
    keys = dict(zip(ids, pairs, strict=True))
    awaiting = asyncio.ensure_future(load.outcomes())
    await wait_until(lambda: ledger.count("start") > 2 * WORKERS * SLOTS, "the first jobs to run")
    trouble = Trouble(fleet, server, client, ledger, keys)
    await trouble.make(KILLS, STOPS, RESTARTS)
    heard = await awaiting
    book = await ending.wind_up(WORKERS)

    most = most_at_once(book, keys, trouble.faults)
    line = ending.report(
        "limits",
        f"{KEY_COUNT} keys of which {MOST} jobs may run at once, workers and Redis killed",
        load.accepted,
        f"{KILLS} kill -9, {STOPS} SIGSTOP, {RESTARTS} kill -9 of Redis",
        recovery=max(trouble.returns),
        figures={"bodies of a key at once": str(most)},
    )
    assert line.lost == 0
    assert most == MOST
    assert max(trouble.returns) <= LEASE + 1.0 + SLACK
    assert line.duplicates <= ending.may_run_again(trouble.faults, SLOTS)
    assert await left_by_limits(client) == []
    await ending.check(load.accepted, heard)


class Charge(NamedTuple):
    """A job that was admitted, as Redis has written it down, in ms since 1970."""

    due: float  #: when it may start by the rate
    at: int  #: when it was delivered


def charges(server: RedisServer) -> list[Charge]:
    """Return all charges of the rate, from the append-only file."""
    value = rb"\r\n\$\d+\r\n"
    rate, stream = (
        re.escape(key.encode()) for key in (KEYS.prefix + "rate:r=start", KEYS.stream(ADMITTED))
    )
    written = re.compile(
        rb"SET" + value + rate + value + rb"([\d.]+)\r\n"
        rb"|XADD" + value + stream + value + rb"(\d+)-\d+\r\n"
    )
    found, paid_off = list[Charge](), 0.0
    for file in sorted(server.directory.rglob("*.aof")):
        for one in written.finditer(file.read_bytes()):
            if one[1]:
                paid_off = float(one[1])
            else:
                found.append(Charge(paid_off - 1000 / A_SECOND, int(one[2])))
    return found


async def test_rate(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """Jobs are charged no sooner than the rate allows, and nothing stops it for long."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS, app=APP)
    await load.give(start.bind() for _ in range(RATED))
    awaiting = asyncio.ensure_future(load.outcomes())
    await wait_until(lambda: ledger.count("start") > 20, "the first jobs to run")
    trouble = Trouble(fleet, server, client, ledger, {})
    await trouble.make(RATED_KILLS, 0, 1)
    heard = await awaiting
    await ending.wind_up(WORKERS)

    charged = charges(server)
    pairs = list(itertools.pairwise(charged))
    stop = max(after.at - before.at for before, after in pairs) / 1000
    closest = min(after.due - before.due for before, after in pairs)
    early = max(one.due - one.at for one in charged)
    line = ending.report(
        "rates",
        f"{A_SECOND} starts a second, {WORKERS} workers, workers and Redis killed",
        load.accepted,
        f"{RATED_KILLS} kill -9, 1 kill -9 of Redis",
        recovery=stop,
        figures={"closest charges": f"{closest:.3f} ms"},
    )
    assert line.lost == 0
    assert len(charged) >= RATED
    assert closest > 1000 / A_SECOND - 0.01
    assert early < 1, "a job was delivered before its time"
    assert stop <= 2.0 + SLACK
    assert await left_by_limits(client) == []
    await ending.check(load.accepted, heard)
