"""What is counted of jobs that end while workers are killed, and of those that have not ended."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from aiostreamq import JobState, QueueInfo
from aiostreamq.model.stats import Ended, read_recent
from tests.chaos import invariants
from tests.chaos.app import fail, queue, work, work_aside
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import STUBBORN, kill_beside_a_stopped_one
from tests.chaos.ledger import SETTLING, Book, Ledger
from tests.chaos.load import Load
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.waiting import wait_until

#: How often workers are killed while another is stopped past its lease, and how many each time.
ROUNDS = sized(short=1, long=12)
KILLS = 3
WORKERS = 4
SLOTS = 10  # of each worker

#: How many jobs return, raise, and run past their timeout; and seconds that one takes.
DONE = 900 * ROUNDS
FAILED = 150 * ROUNDS
TIMED_OUT = 50 * ROUNDS
EACH = 0.1

#: How many jobs are delayed, set aside, run and wait when all others have ended.
DELAYED, PARKED, RUNNING, WAITING = 30, 20, 4, 50

#: Seconds that the counters may be behind: what a worker has not told by then dies with it.
BEHIND = 0.1

#: How far back counters are asked.
WINDOW = "2h"

#: Where a job can be that has not ended.
OPEN = (JobState.DELAYED, JobState.HELD, JobState.PARKED, JobState.QUEUED, JobState.RUNNING)

Ends = Counter[tuple[str, JobState]]
Outcomes = Mapping[str, dict[str, Any] | None]


def counted(info: QueueInfo) -> Ends:
    """Return how many jobs of each task have ended in each state, as it is counted."""
    return Counter(
        {(task.name, state): count for task in info.tasks for state, count in task.ended.items()}
    )


def way_of(kept: Mapping[str, Any]) -> tuple[str, JobState]:
    """Return the task and the state of a kept outcome."""
    return kept["task"], JobState(kept["state"])


async def listed_wrongly(client: Redis, stored: Outcomes) -> list[Ended]:
    """Return what the index of ended jobs has twice, or tells otherwise than their outcomes."""
    seen: set[str] = set()
    wrong: list[Ended] = []
    entries = cast("list[tuple[str, dict[str, str]]]", await client.xrange(KEYS.recent))
    for _, fields in entries:
        for one in read_recent({name.encode(): told.encode() for name, told in fields.items()}):
            kept = stored.get(one.id)
            if one.id in seen or kept is None or (one.task, one.state) != way_of(kept):
                wrong.append(one)
            seen.add(one.id)
    return wrong


def untold(book: Book, fault: Fault) -> int:
    """Return how many jobs had just ended in a worker that was killed: they may be uncounted."""
    since = fault.at - BEHIND - SETTLING
    return sum(
        event.pid == fault.pid and event.kind != "start" and since <= event.at <= fault.at
        for event in book.events
    )


async def give(load: Load) -> list[str]:
    """Enqueue jobs that do not end by themselves, and jobs that do; returns the latter."""
    lasting = [work.bind(3600.0) for _ in range(RUNNING)]
    lasting += [work_aside.bind() for _ in range(PARKED)]
    lasting += [work.using(delay="1h").bind() for _ in range(DELAYED)]
    ending = [work.bind(EACH) for _ in range(DONE)] + [fail.bind(EACH) for _ in range(FAILED)]
    ending += [work.using(timeout=EACH).bind(60.0) for _ in range(TIMED_OUT)]
    random.shuffle(ending)
    await load.give(lasting)
    return await load.give(ending)


async def test_counters_while_workers_die(
    client: Redis, fleet: Fleet, load: Load, ledger: Ledger, report: Report, ending: Ending
) -> None:
    """A kill costs the counters what ended in its last moments; what has not ended is exact."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS)
    await queue.pause(task=work_aside)
    to_end = await give(load)
    awaiting = asyncio.gather(*(load.accepted[job] for job in to_end), return_exceptions=True)
    await wait_until(lambda: ledger.count("end") > 5 * SLOTS, "many jobs to end", timeout=20)
    kills: list[Fault] = []
    stops: list[Fault] = []
    for _ in range(ROUNDS):
        some, stop = await kill_beside_a_stopped_one(fleet, ledger, KILLS)
        await client.client_kill_filter(_type="normal")  # what is counted may be told twice then
        kills += some
        stops.append(stop)
    await awaiting
    await queue.pause(lane="default")
    await load.give(work.bind() for _ in range(WAITING))

    async def is_exact() -> bool:
        seen = await queue.info()
        standing = (seen.waiting, seen.running, seen.delayed, seen.parked, seen.dead)
        return standing == (WAITING, RUNNING, DELAYED, PARKED, FAILED + TIMED_OUT)

    await wait_until(is_exact, "all jobs to be counted where they are", timeout=20)
    await pause(BEHIND + SETTLING)
    seen, stored = await queue.info(window=WINDOW), await invariants.stored_outcomes(client, to_end)
    wrong = await listed_wrongly(client, stored)
    caught = await queue.cancel_many(everything=True)
    await queue.resume(task=work_aside, lane="default")
    book = await ending.wind_up(WORKERS)
    rest = counted(await queue.info(window=WINDOW)) - counted(seen)

    truth = Counter(way_of(kept) for kept in stored.values() if kept)
    missing, too_many = truth - counted(seen), counted(seen) - truth
    at_most = sum(untold(book, kill) for kill in kills)
    line = Line(
        "counters",
        f"counters of {WORKERS} workers that are killed or stopped",
        len(load.accepted),
        f"{len(kills)} kill -9, {len(stops)} SIGSTOP, {ROUNDS} times all connections cut",
        lost=len(to_end) - truth.total(),
        duplicates=book.ended_again,
        recovery=max(book.recoveries(kills)),
        figures={
            "ended": f"{truth.total():,}",
            "not counted": str(missing.total()),
            "allowed, as they ended right before a kill": str(at_most),
            "counted twice": str(max(len(wrong), too_many.total())),
            "delayed, parked, waiting and running, when quiet": "exact",
        },
    )
    report.add(line)
    assert line.lost == 0
    assert at_most > 0, "no kill met work"
    assert missing.total() <= at_most
    assert not too_many
    assert not wrong
    assert seen.rate * seen.window == pytest.approx(counted(seen).total())
    for task in seen.tasks:
        assert task.run_latency is None or task.run_latency.count == sum(task.ended.values())
    # All that ends when nobody is killed is counted.
    assert caught == dict(zip(OPEN, (DELAYED, 0, PARKED, WAITING, RUNNING), strict=True))
    cancelled = {work: DELAYED + WAITING + RUNNING, work_aside: PARKED}
    assert rest == {(task.name, JobState.CANCELLED): count for task, count in cancelled.items()}
    may_run_again = ending.may_run_again([*kills, *stops], SLOTS)
    assert line.duplicates <= book.started_again <= may_run_again
    assert not fleet.errors("was taken for dead")
    await ending.check(load.accepted)
