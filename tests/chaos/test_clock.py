"""Redis's clock is stepped while jobs run."""

import asyncio
import shutil
import struct
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chaos.app import KEEP, Run
from tests.chaos.ending import Ending
from tests.chaos.feed import feeding
from tests.chaos.fleet import SLACK, Fault, Fleet
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SOURCE = Path(__file__).with_name("clock.c")
NAME, SCENARIO = "clock", "Redis's clock stepped by an hour, forth and back"

HOUR = 3600
STEPS = sized(short=1, long=5) * [HOUR, 0, -HOUR, 0]
WORKERS = 3
EACH = 0.2  # seconds that a job takes
LONG = 4.0  # and one that runs over several steps, but meets no second kill

#: Seconds: no living worker is to be taken for dead, not even on a machine that holds one up.
LEASE = 2.0

#: Seconds between two steps: long enough for whoever goes by that clock to take others for dead.
STAY = LEASE * 1.5


class Clock:
    """The wall clock of a Redis.

    Args:
        directory: For what it needs.
        compiler: Of C.
    """

    def __init__(self, directory: Path, compiler: str) -> None:
        library = directory / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._file = directory / "offset"
        self.step(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._file)}

    def step(self, offset: int) -> None:
        """Let it be off by so many seconds from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("l", offset))


@pytest.fixture
def clock(tmp_path: Path, report: Report) -> Clock:
    """What the server takes for the time."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        report.add(Line(NAME, f"{SCENARIO}: NOT RUN, there is no C compiler here", 0, "none", 0, 0))
        pytest.skip("the clock of redis-server can not be stepped without a C compiler")
    return Clock(tmp_path, compiler)


@pytest.fixture
def server(clock: Clock) -> Generator[RedisServer]:
    """A Redis that goes by that clock."""
    with RedisServer(environment=clock.environment) as server:
        yield server


async def step(clock: Clock, client: Redis, offset: int) -> None:
    """Set the clock, and see that Redis goes by it."""
    clock.step(offset)

    async def is_stepped() -> bool:
        seconds, _ = await client.time()
        return abs(seconds - time.time() - offset) < HOUR / 2

    await wait_until(is_stepped, f"a clock that is off by {offset} s")


async def test_clock_is_stepped(
    clock: Clock, client: Redis, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """Nobody looks dead for it, who is dead is found all the same, and results are kept."""
    fleet.options += ["--concurrency", "20", "--lease", f"{LEASE:g}"]
    await fleet.start(WORKERS)
    faults: list[Fault] = []
    awaiting: list[asyncio.Future[Run]] = []
    async with feeding(load, EACH):
        for number, offset in enumerate(STEPS):
            if number % 2 == 0:
                await load.bulk(WORKERS, LONG)
            await step(clock, client, offset)
            awaiting += [asyncio.ensure_future(job.result()) for job in load.accepted.values()]
            await pause(STAY)
            if offset < 0:  # a lease that goes by that clock would last an hour longer
                faults.append(await fleet.kill(fleet.living[0]))
                await fleet.start()
    told = await load.outcomes()
    await asyncio.gather(*awaiting)
    book = await ending.wind_up(WORKERS)

    running = sum(len(book.in_flight(fault)) for fault in faults)
    recoveries = book.recoveries(faults)
    line = ending.report(
        NAME,
        SCENARIO,
        load.accepted,
        f"{len(STEPS)} steps, {len(faults)} workers killed",
        recovery=max(recoveries),
        figures={
            "in flight at the kills": str(running),
            "started again": str(book.started_again),
            "results kept": f"{KEEP / HOUR:g} h by that clock",
        },
    )
    assert line.lost == 0
    assert line.duplicates <= book.started_again <= len(book.hit(faults))
    assert max(recoveries) <= LEASE + 1.0 + SLACK
    assert not fleet.taken_for_dead
    await ending.check(load.accepted, told)
