"""Clients enqueue unique jobs while workers are killed: one open job for each key, always."""

import asyncio
import random
from collections import defaultdict
from itertools import pairwise

from redis.asyncio import Redis

from aiostreamq import Unique
from tests.chaos.app import NAME, work
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.ledger import Book
from tests.chaos.load import Load
from tests.chaos.scale import sized
from tests.support.waiting import wait_until

KILLS = sized(short=3, long=40)
WORKERS = 3
CALLERS = 20  # which enqueue one call after the other

#: Seconds that a job takes, which is its key.
KEYS = [0.1 + number / 100 for number in range(10)]

Jobs = dict[str, float]  #: the keys of jobs, by id


async def enqueue(load: Load, jobs: Jobs, over: asyncio.Event) -> int:
    """Enqueue calls of random keys until it is over, and await some; returns how many calls."""
    task, calls = work.using(unique=Unique(key="seconds")), 0
    while not over.is_set():
        key = random.choice(KEYS)
        job = await task.enqueue(key)
        jobs[job.id], calls = key, calls + 1
        load.accepted[job.id] = job
        if random.random() < 0.1:
            await job
    return calls


def overlaps(book: Book, jobs: Jobs) -> list[tuple[str, str]]:
    """Return pairs of jobs of one key of which the second began before the first had ended."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for event in book.events:
        times[event.job].append(event.at)
    found: list[tuple[str, str]] = []
    for key in KEYS:
        own = sorted((one for one in jobs if jobs[one] == key), key=lambda one: min(times[one]))
        found += [(one, two) for one, two in pairwise(own) if max(times[one]) > min(times[two])]
    return found


async def test_unique(client: Redis, fleet: Fleet, load: Load, ending: Ending) -> None:
    """No two jobs of a key run at once, each key is free again and again, and nothing is left."""
    fleet.options += STUBBORN
    await fleet.start(WORKERS)
    over, jobs = asyncio.Event(), Jobs()
    callers = [asyncio.create_task(enqueue(load, jobs, over)) for _ in range(CALLERS)]
    await wait_until(lambda: len(jobs) > len(KEYS), "the first jobs to end")
    faults = await kill_at_random(fleet, KILLS)
    over.set()
    calls = sum(await asyncio.gather(*callers))
    await load.ends()
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "unique",
        "unique jobs, which many callers enqueue at once",
        load.accepted,
        f"{KILLS} kill -9",
        figures={"calls": str(calls)},
    )
    assert overlaps(book, jobs) == []
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, len(KEYS))
    assert len(jobs) > 2 * len(KEYS)
    assert set(book.starts) == set(jobs), "there is no job that no caller was given"
    assert await client.hlen(f"aiostreamq:{{{NAME}}}:unique") == 0
    await ending.check(load.accepted)
