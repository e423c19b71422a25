"""Redis is killed and comes back with what its append-only file has."""

import time
from collections.abc import Generator

import pytest

from tests.chaos.ending import Ending
from tests.chaos.feed import feeding, slowest_resumption
from tests.chaos.fleet import Fleet
from tests.chaos.load import Load
from tests.chaos.rhythm import pause, pause_about
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer

KILLS = sized(short=4, long=20)
WORKERS = 3

#: Seconds that a job takes.
EACH = 0.1

#: Seconds: no worker is to be taken for dead, not even on a machine that holds one up.
LEASE = 3.0

#: Seconds that Redis stays away each second time: longer than a lease.
AWAY = LEASE + 0.5


@pytest.fixture
def server() -> Generator[RedisServer]:
    """A Redis that has written down whatever it has said yes to."""
    with RedisServer(appendonly=True) as server:
        yield server


async def kill_again_and_again(server: RedisServer, count: int) -> list[float]:
    """Kill Redis under load; returns when it was back each time."""
    moments: list[float] = []
    for number in range(count):
        await pause_about(1.0)
        server.kill()
        if number % 2:
            await pause(AWAY)
        server.start()
        moments.append(time.monotonic())
    await pause(0.5)
    return moments


async def test_redis_is_killed(
    server: RedisServer, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """What Redis had accepted is done, once, and nothing had to be helped."""
    fleet.options += ["--concurrency", "20", "--lease", f"{LEASE:g}"]
    await fleet.start(WORKERS)
    async with feeding(load, EACH):
        moments = await kill_again_and_again(server, KILLS)
    told = await load.outcomes()
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "redis-kills",
        f"{WORKERS} workers, Redis killed under load, appendfsync always",
        load.accepted,
        f"{KILLS} kill -9 of Redis, each second time {AWAY:g} s away",
        recovery=slowest_resumption(book, moments),
        figures={
            "enqueues that raised": str(len(load.uncertain)),
            "worker processes that ended": str(len(fleet.all) - WORKERS),
        },
    )
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert not load.uncertain
    assert not fleet.taken_for_dead
    await ending.check(load.accepted, told)
