"""Work at full speed for a while: nothing may grow with the number of jobs done."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chaos import invariants
from tests.chaos.app import nothing, queue
from tests.chaos.fleet import PATIENT, Fleet
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized

#: Seconds at full speed, and between two looks at the memory.
LENGTH = sized(short=12.0, long=600.0)
LOOK = LENGTH / 40

#: Seconds until memory has its size: Redis keeps the ids of ended jobs for 60 s, and pools and
#: caches of the workers fill in the first thousands of jobs.
WARM_UP = sized(short=5.0, long=150.0)

WORKERS = 2
CALLERS = 4
CHUNK = 500

#: KiB per 1,000 jobs by which a worker may grow. One small object a job would be ten times that.
WORKER_BOUND = sized(short=20.0, long=2.0)

#: The same for Redis. The short form is over before the first ids are forgotten.
REDIS_BOUND = sized(short=1_000.0, long=2.0)


#: KiB by which a worker may grow in all that time, where a loaded machine does so few jobs that its
#: caches are still being filled.
LITTLE = 4096.0


@dataclass(frozen=True, slots=True)
class Look:
    """The memory at one moment."""

    at: float  #: seconds since the start
    jobs: int  #: done by then
    workers: float  #: KiB, of the largest
    redis: float  #: KiB


def resident_kib(pid: int) -> float:
    """Return the memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much the second grows with the first, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


@pytest.mark.timeout(LENGTH * 1.5 + 100)
@pytest.mark.nightly  # seconds do not show a leak
async def test_soak(client: Redis, fleet: Fleet, load: Load, report: Report) -> None:
    """Neither workers nor Redis grow with the jobs they have done, and no key stays for ever."""
    fleet.options += PATIENT
    await fleet.start(WORKERS)
    done = 0
    end = time.monotonic() + LENGTH

    async def call() -> None:
        nonlocal done
        while time.monotonic() < end:
            jobs = await queue.enqueue_many(nothing.bind() for _ in range(CHUNK))
            await asyncio.gather(*jobs)
            done += CHUNK

    async def watch() -> list[Look]:
        looks: list[Look] = []
        while time.monotonic() < end:
            await pause(LOOK)
            used = (await client.info("memory"))["used_memory"]
            largest = max(resident_kib(worker.pid) for worker in fleet.living)
            looks.append(Look(time.monotonic() - end + LENGTH, done, largest, used / 1024))
        return looks

    calling = asyncio.gather(*(call() for _ in range(CALLERS)))
    looks = await watch()
    await calling
    await invariants.wait_quiet(client, WORKERS)
    codes = await fleet.dismiss()

    warm = [look for look in looks if look.at >= WARM_UP]
    of_workers = slope([(look.jobs / 1000, look.workers) for look in warm])
    of_redis = slope([(look.jobs / 1000, look.redis) for look in warm])
    line = Line(
        "soak",
        f"{LENGTH:g} s at full speed",
        done,
        "none",
        lost=0,  # each was awaited
        duplicates=0,
        figures={
            "jobs a second": f"{done / LENGTH:,.0f}",
            "worker": f"{warm[-1].workers / 1024:.1f} MiB, {of_workers:+.2f} KiB per 1,000 jobs",
            "Redis": f"{warm[-1].redis / 1024:.1f} MiB, {of_redis:+.2f} KiB per 1,000 jobs",
        },
    )
    report.add(line)
    measured = (warm[-1].jobs - warm[0].jobs) / 1000
    assert of_workers * measured < max(WORKER_BOUND * measured, LITTLE)
    assert of_redis < REDIS_BOUND
    assert codes == [0] * WORKERS
    assert not fleet.errors()
    await invariants.check(client, [])
