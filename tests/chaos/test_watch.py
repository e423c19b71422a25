"""Recovery depends neither on how many workers there are, nor on how long each lives."""

import asyncio
import os
import random
import resource
import signal
import socket
import time
from contextlib import AsyncExitStack
from statistics import median

import pytest
from redis.asyncio import Redis

from tests.chaos.app import work
from tests.chaos.ending import Ending
from tests.chaos.fleet import SLACK, Fault, Fleet
from tests.chaos.killing import STUBBORN
from tests.chaos.ledger import Ledger
from tests.chaos.lives import Lives
from tests.chaos.load import Load
from tests.chaos.many_workers import READY
from tests.chaos.pinging import pinging
from tests.chaos.report import seconds
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.processes import Program
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Seconds. Long beside the lives of the workers here.
LEASE = 3.0
OPTIONS = ("--lease", f"{LEASE:g}", "--concurrency", "10", *STUBBORN)

CHURN_KILLS = sized(short=8, long=60)
CHURN_WORKERS = 4
CHURN_INTERVAL = 0.7

BURSTS = sized(short=1, long=10)
BURST_JOBS = 10

LIVES = sized(short=12, long=60)
LIFE = 1.0

#: How many processes with how many workers each; half of them are killed together.
PROCESSES = sized(short=4, long=20)
WORKERS_EACH = sized(short=5, long=10)
OTHERS = sized(short=200, long=2_000)
MASS_JOBS = sized(short=200, long=1_000)


@pytest.fixture
def patient_fleet(fleet: Fleet) -> Fleet:
    """Workers with the lease of these scenarios."""
    fleet.options[:] = [*OPTIONS]
    return fleet


@pytest.mark.nightly  # test_kills has the same faults
async def test_churn(patient_fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """Workers are killed so often that hardly one lives for a lease."""
    fleet, lives, faults = patient_fleet, Lives(patient_fleet), list[Fault]()
    await asyncio.gather(*(lives.start() for _ in range(CHURN_WORKERS)))
    starting: list[asyncio.Future[Program]] = []
    for _ in range(CHURN_KILLS):
        if len(load.accepted) - ledger.count("end") < 100:
            await load.bulk(100, 0.2)
        await pause(CHURN_INTERVAL)
        faults.append(await lives.kill(random.choice(lives.ready)))
        starting.append(asyncio.ensure_future(lives.start()))
    await asyncio.gather(*starting)
    outcomes = await load.outcomes()
    book = await ending.wind_up(CHURN_WORKERS)
    away = lives.recoveries(book, faults)
    next_starts = book.recoveries(faults)
    line = ending.report(
        "churn",
        f"{CHURN_WORKERS} workers, lease {LEASE:g} s, a random `kill -9` every 0.7 s",
        load.accepted,
        f"{CHURN_KILLS} kill -9",
        recovery=max(next_starts, default=0.0),
        figures={
            "half of them running again within": seconds(median(next_starts or [0.0])),
            "running again on a worker that lived on, after one death": seconds(
                max((one.seconds for one in away if one.deaths == 1), default=0.0)
            ),
            "the same after two deaths and more": seconds(
                max((one.seconds for one in away if one.deaths > 1), default=None)
            ),
            "living workers taken for dead": str(fleet.taken_for_dead),
        },
    )
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, 10)
    assert max(next_starts, default=0.0) <= LEASE + 1.0 + SLACK
    # Each death costs a lease and a second at most.
    assert max((one.seconds / one.deaths for one in away), default=0.0) <= LEASE + 1.0 + SLACK
    assert not fleet.errors("was taken for dead")
    await ending.check(load.accepted, outcomes)


async def test_bursts(patient_fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """There are only burst workers, and the next one has the jobs of the one that was killed."""
    fleet, waits, process_starts = patient_fleet, list[float](), list[float]()
    fleet.options.append("--burst")
    for _ in range(BURSTS):
        started = ledger.count("start")
        ids = await load.give(work.bind(1.5) for _ in range(BURST_JOBS))
        (first,) = await fleet.start()

        def are_running(count: int = started + BURST_JOBS) -> bool:
            return ledger.count("start") == count

        await wait_until(are_running, "all jobs to start")
        await fleet.kill(first)
        begun = time.monotonic()
        (second,) = await fleet.start()
        process_starts.append(time.monotonic() - begun)
        assert await second.wait_end() == 0
        fleet.living.remove(second)
        starts = ledger.book().starts
        waits += [starts[job][-1].at - begun for job in ids]
    outcomes = await load.outcomes()
    await ending.wind_up(0)
    line = ending.report(
        "bursts",
        f"burst workers alone, lease {LEASE:g} s, one killed with {BURST_JOBS} jobs",
        load.accepted,
        f"{BURSTS} kill -9",
        recovery=max(waits, default=0.0),
        figures={"until its process was ready": seconds(max(process_starts, default=0.0))},
    )
    assert (line.lost, line.duplicates) == (0, 0)
    assert max(waits, default=0.0) <= LEASE + 1.0 + SLACK
    await ending.check(load.accepted, outcomes)


async def test_crash_loop(patient_fleet: Fleet, load: Load, ledger: Ledger, ending: Ending) -> None:
    """One worker at a time, and each dies long before its lease is over."""
    lives, faults = Lives(patient_fleet), list[Fault]()
    for _ in range(LIVES):
        if len(load.accepted) - ledger.count("end") < 50:
            await load.bulk(50, 0.2)
        worker = await lives.start()
        await pause(LIFE)
        faults.append(await lives.kill(worker))
    await lives.start()
    outcomes = await load.outcomes()
    book = await ending.wind_up(1)
    spans = [
        (fault.at, start.at)
        for fault in faults
        for hit in book.in_flight(fault)
        for start in book.starts[hit.job]
        if start.delivery == hit.delivery + 1
    ]
    observed = [lives.observed(begin, end) for begin, end in spans]
    line = ending.report(
        "crash-loop",
        f"one worker at a time, lease {LEASE:g} s, each killed after {LIFE:g} s",
        load.accepted,
        f"{LIVES} kill -9",
        recovery=max((end - begin for begin, end in spans), default=0.0),
        figures={"with a worker there": seconds(max(observed, default=0.0))},
    )
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, 10)
    assert max(observed, default=0.0) <= 2 * LEASE + SLACK
    await ending.check(load.accepted, outcomes)


async def cpu_of(client: Redis) -> float:
    """Return the seconds of CPU that Redis has used."""
    info = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


@pytest.mark.may_block("many sockets are opened and closed at once")
async def test_mass_death(
    server: RedisServer, client: Redis, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """Half of a large fleet is killed at once, beside many other clients."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    async with AsyncExitStack() as stack:
        programs = [
            await stack.enter_async_context(
                Program(
                    *("-m", "tests.chaos.many_workers", server.url),
                    *(str(WORKERS_EACH), f"{LEASE:g}", "10"),
                    environment={**os.environ, **ledger.environment},
                )
            )
            for _ in range(PROCESSES)
        ]
        for program in programs:
            await program.wait_for_line(READY)
        others = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(OTHERS)]
        await load.bulk(MASS_JOBS, 1.5)
        await wait_until(lambda: ledger.count("start") >= MASS_JOBS * 0.9, "most jobs to start")
        await client.config_set("slowlog-log-slower-than", 1_000)
        await client.slowlog_reset()
        before = await cpu_of(client)
        async with pinging(server.port) as pings:
            faults = [Fault(one.pid, time.monotonic()) for one in programs[::2]]
            for program in programs[::2]:
                program.send_signal(signal.SIGKILL)
            await load.outcomes()
            workers = f"{PROCESSES // 2 * WORKERS_EACH}"
        spent = await cpu_of(client) - before
        slow = [one["duration"] for one in await client.slowlog_get(128)]
        async with pinging(server.port) as without_deaths:
            await load.bulk(MASS_JOBS // 2, 1.5)
            await load.outcomes()
        for one in others:
            one.close()
        for program in programs[::2]:
            await program.wait_end()
        book = ledger.book()
        recoveries = book.recoveries(faults)
        line = ending.report(
            "mass-death",
            f"{PROCESSES * WORKERS_EACH} workers, lease {LEASE:g} s, half of them killed at once",
            load.accepted,
            f"{workers} workers in {PROCESSES // 2} processes, kill -9",
            recovery=max(recoveries),
            figures={
                "jobs that were hit": str(len(recoveries)),
                f"PING of another among {OTHERS:,} other clients, slowest": (
                    f"{1000 * pings.slowest:.0f} ms"
                ),
                "the same under load without a death": (f"{1000 * without_deaths.slowest:.0f} ms"),
                "slowest command of Redis": f"{max(slow, default=1_000) / 1000:.0f} ms",
                "CPU of Redis in all": seconds(spent),
            },
        )
        assert (line.lost, line.duplicates) == (0, 0)
        assert recoveries, "no kill met work"
        assert max(recoveries) <= LEASE + 2.0 + SLACK
