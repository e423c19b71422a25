"""Redis has no memory left while jobs run."""

import asyncio

from aiostreamq import BrokerError
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROUNDS = sized(short=2, long=15)
JOBS = 100  # in each round
TRIES = 50  # enqueues in each, when there is no room
WORKERS = 3
EACH = 0.4  # seconds that a job takes

#: Seconds: no worker is to be taken for dead, not even on a machine that holds one up.
LEASE = 2.0

#: Seconds without memory: long enough for whoever cannot show that it lives to look dead.
FULL = 2 * LEASE


async def test_redis_is_full(
    server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """New jobs are refused with the reason; those that are there are done, once, and awaited."""
    fleet.options += ["--concurrency", "8", "--lease", f"{LEASE:g}"]
    await fleet.start(WORKERS)
    ended_when_full = 0
    for number in range(ROUNDS):
        await load.bulk(JOBS, EACH)
        await wait_until(lambda n=number: ledger.count("start") > JOBS * n, "jobs to run")
        ended = ledger.count("end")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        await load.one_by_one(TRIES)
        awaiting = asyncio.ensure_future(load.outcomes())
        await pause(FULL)
        ended_when_full += ledger.count("end") - ended
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await pause(LEASE)  # time for anyone to be taken for dead
        await awaiting
    told = await load.outcomes()
    book = await ending.wind_up(WORKERS)

    refused = [error for error in load.uncertain.values() if "Redis is full" in str(error)]
    line = ending.report(
        "memory",
        f"maxmemory reached while jobs run, for {FULL:g} s each time",
        load.accepted,
        f"{ROUNDS} times full",
        figures={
            "enqueues refused": f"{len(refused)} of {ROUNDS * TRIES}",
            "jobs that ended meanwhile": str(ended_when_full),
        },
    )
    assert len(refused) == len(load.uncertain) == ROUNDS * TRIES
    assert all(isinstance(error, BrokerError) for error in refused)
    assert len(load.accepted) == ROUNDS * JOBS
    assert ended_when_full >= ROUNDS * WORKERS * 8
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    assert not fleet.taken_for_dead
    await ending.check(load.accepted, told)
