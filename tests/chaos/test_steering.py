"""Tasks and lanes are paused and resumed while workers and Redis are killed."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Collection, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

import pytest
from redis.asyncio import Redis

from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, Fault, Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.lanes_app import queue, work, work_aside, work_in_bulk, work_later, work_slowly
from tests.chaos.ledger import Event, Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import pause, pause_about
from tests.chaos.scale import sized
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: How often Redis is killed, and how many workers before that.
ROUNDS = sized(short=1, long=12)
KILLS = 2
WORKERS = 3
SLOTS = 10  # of each worker
APP = "tests.chaos.lanes_app:queue"

#: How many jobs of each task there are, and seconds that each takes: as long as it takes to meet
#: all faults.
JOBS = 300 * ROUNDS
EACH = 0.1

#: How many jobs become due one after the other, in a lane that is paused all the time.
LATER = 200 * ROUNDS

#: Seconds that Redis stays away, and in which workers have come back to it and know what has been
#: paused: they pause for a second and a half between tries at the longest.
AWAY = 1.0
COMING_BACK = 1.5

#: Seconds that a pause lasts: at the least and at the most, and after a kill, whose jobs come back
#: in it.
LENGTHS = (0.3, 2.0)
HOLD = LEASE + 1.5

#: Seconds in which workers must know of a pause while Redis is there. It is pushed to them.
PROMPT = 1.0


class Span(NamedTuple):
    """A time in which none of a unit's jobs may start, on the monotonic clock."""

    begun: float  #: the pause was answered
    ended: float  #: nobody had asked yet for its end


@dataclass
class Unit:
    """What is paused: a task, or a lane."""

    task: str | None
    lane: str | None
    jobs: Collection[str]  #: those that wait then
    spans: list[Span] = field(default_factory=list[Span])


class Outage(NamedTuple):
    """A time without Redis, on the monotonic clock."""

    down: float
    back: float


@pytest.fixture
def server() -> Generator[RedisServer]:
    """A Redis that has written down whatever it has said yes to."""
    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture
async def load(server: RedisServer) -> AsyncGenerator[Load]:
    """The producer, in this process."""
    queue.use_url(server.url)
    await queue.open()
    yield Load(queue, work)
    await queue.aclose()


async def give(load: Load) -> dict[str, list[str]]:
    """Enqueue jobs of all tasks but the last; returns them by the task's name."""
    tasks = (work, work_aside, work_in_bulk, work_slowly)
    calls = [task.bind(EACH) for task in tasks for _ in range(JOBS)]
    random.shuffle(calls)
    by_task: dict[str, list[str]] = {task.name: [] for task in tasks}
    for job, call in zip(await load.give(calls), calls, strict=True):
        by_task[call.spec.name].append(job)
    return by_task


async def give_later(load: Load) -> list[str]:
    """Enqueue jobs for later, in any order; returns them in the order in which they are due."""
    span = range(1000, 1000 + ROUNDS * 4000)
    start, due_ms = datetime.now(UTC), random.sample(span, LATER)
    due = [start + timedelta(milliseconds=ms) for ms in due_ms]
    ids = await load.give(work_later.using(at=at).bind() for at in due)
    return [job for _, job in sorted(zip(due, ids, strict=True))]


class Steering:
    """Pauses and resumes units at random until it is told to end."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units
        self._is_over = False

    async def run(self) -> None:
        """Pause all units, each at a time of its own."""
        await asyncio.gather(*(self._steer(unit) for unit in self._units))

    def end(self) -> None:
        """Let all continue, the next time they do."""
        self._is_over = True

    async def _steer(self, unit: Unit) -> None:
        while not self._is_over:
            await pause_about(0.3)
            until = random.choice([None, random.uniform(*LENGTHS)])
            asked = time.monotonic()
            await queue.pause(task=unit.task, lane=unit.lane, until=until)
            begun = time.monotonic()
            if until is None:
                await pause(random.uniform(*LENGTHS))
                unit.spans.append(Span(begun, time.monotonic()))
                await queue.resume(task=unit.task, lane=unit.lane)
            else:
                unit.spans.append(Span(begun, asked + until))
                await pause(until)


async def trouble(
    fleet: Fleet, server: RedisServer, slow: Unit
) -> tuple[list[Fault], list[Outage]]:
    """Kill workers and then Redis, and pause a lane at each kill: what is recovered must wait."""
    faults: list[Fault] = []
    outages: list[Outage] = []

    async def hold(_: Fault) -> None:
        asked = time.monotonic()
        await queue.pause(lane=slow.lane, until=HOLD)
        slow.spans.append(Span(time.monotonic(), asked + HOLD))

    for _ in range(ROUNDS):
        faults += await kill_at_random(fleet, KILLS, app=APP, then=hold)
        await pause_about(0.5)
        down = time.monotonic()
        server.kill()
        await pause(AWAY * random.random())
        server.start()
        outages.append(Outage(down, time.monotonic()))
        await pause_about(1.0)
    return faults, outages


def known_by(span: Span, outages: Sequence[Outage]) -> float:
    """Return when all workers must know of a pause."""
    returns = [
        outage.back + COMING_BACK
        for outage in outages
        if outage.down < span.begun + PROMPT and outage.back + COMING_BACK > span.begun
    ]
    return max([span.begun + PROMPT, *returns])


class Starts:
    """What started although it was paused."""

    def __init__(self) -> None:
        self.prompt = 0.0  #: seconds from a pause to the last start in it
        self.returning = 0.0  #: the same where Redis had been away
        self.forbidden: list[tuple[Event, Span]] = []

    def look(self, event: Event, spans: Sequence[Span], outages: Sequence[Outage]) -> None:
        """Take the start of a job into account that was to wait in these spans."""
        for span in spans:
            if span.begun < event.at < span.ended:
                limit, took = known_by(span, outages), event.at - span.begun
                if event.at > limit:
                    self.forbidden.append((event, span))
                elif limit > span.begun + PROMPT:
                    self.returning = max(self.returning, took)
                else:
                    self.prompt = max(self.prompt, took)


async def test_pauses_while_workers_and_redis_die(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """What is paused does not start, what is due keeps its order, and nothing is lost."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await queue.pause(lane="later")
    # Before there are workers, which move what is due: on a loaded machine, the first would be due
    # before the last are in.
    later = await give_later(load)
    await fleet.start(WORKERS, app=APP)
    jobs = await give(load)
    units = [
        Unit("work_aside", None, jobs["work_aside"]),
        Unit(None, "bulk", jobs["work_in_bulk"]),
        Unit(None, "slow", jobs["work_slowly"]),
    ]
    steering, slow = Steering(units[:2]), units[2]
    awaiting = asyncio.ensure_future(load.outcomes())
    await wait_until(
        lambda: ledger.count("start") > WORKERS * SLOTS * 2, "jobs of all lanes to run"
    )
    steering_task = asyncio.ensure_future(steering.run())
    faults, outages = await trouble(fleet, server, slow)
    steering.end()
    await steering_task

    async def are_due() -> bool:
        return not await client.zcard(KEYS.delayed)

    await wait_until(are_due, "all that is delayed to be due", timeout=20)
    entries = cast(
        "list[tuple[str, dict[str, str]]]",
        await client.xrange(KEYS.stream(work_later.spec.options.lane)),
    )
    in_line = [fields["id"] for _, fields in entries]
    resumed = time.monotonic()
    await queue.resume(lane="later")
    told = await awaiting
    book = await ending.wind_up(WORKERS)

    starts = Starts()
    for unit in units:
        for job in unit.jobs:
            for event in book.starts[job]:
                starts.look(event, unit.spans, outages)
    last = [max(book.ends[job][0].at for job in unit.jobs) for unit in units]
    met = [
        sum(span.begun < end for span in unit.spans) for unit, end in zip(units, last, strict=True)
    ]
    early = [event for job in later for event in book.starts[job] if event.at < resumed]
    line = ending.report(
        "steering",
        f"a task and a lane paused and resumed, {WORKERS} workers and Redis killed",
        load.accepted,
        f"{len(faults)} kill -9 of workers, {len(outages)} of Redis",
        figures={
            "pauses": str(sum(met)),
            "started after a pause within": f"{starts.prompt * 1000:.0f} ms",
            "after one while workers came back to Redis": f"{starts.returning * 1000:.0f} ms",
            "started in a pause later than that": str(len(starts.forbidden) + len(early)),
            "delayed jobs out of their order": str(
                sum(a != b for a, b in zip(in_line, later, strict=True))
            ),
        },
    )
    assert line.lost == 0
    assert all(met), "no pause met work"
    assert not starts.forbidden
    assert not early
    assert in_line == later
    assert line.duplicates <= book.started_again <= ending.may_run_again(faults, SLOTS)
    assert not fleet.errors("was taken for dead", "gave up ")
    assert await queue.paused() == []
    assert not await client.exists(KEYS.paused)
    await ending.check(load.accepted, told)
