"""Calls with keys, and what must be so of their jobs."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aiostreamq import Job
from aiostreamq.client.task import Enqueuer
from tests.chaos.ledger import Book, Event

#: The keys are the seconds that their jobs take.
KEYS = [0.1 + number / 100 for number in range(10)]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that got its job."""

    key: float
    version: int
    job: Job[Any]
    asked: float  #: when, on the monotonic clock
    answered: float  #: when it had its answer


@dataclass(slots=True)
class Calls:
    """All calls of a scenario, in the order of their answers."""

    made: list[Call] = field(default_factory=list[Call])

    async def make(self, key: float, call: Awaitable[Job[Any]], version: int = 0) -> Job[Any]:
        """Make a call; return its job."""
        asked = time.monotonic()
        job = await call
        self.made.append(Call(key, version, job, asked, time.monotonic()))
        return job

    @property
    def jobs(self) -> dict[str, Job[Any]]:
        """The jobs of all calls, by id."""
        return {call.job.id: call.job for call in self.made}

    def of_keys(self) -> dict[float, list[str]]:
        """Return the jobs of each key, in the order in which calls got them."""
        found: defaultdict[float, dict[str, None]] = defaultdict(dict)
        for call in self.made:
            found[call.key].setdefault(call.job.id)
        return {key: list(jobs) for key, jobs in found.items()}

    def first_answers(self) -> dict[str, float]:
        """Return when the first call got each job."""
        found: dict[str, float] = {}
        for call in self.made:
            found.setdefault(call.job.id, call.answered)
        return found


async def call_at_random(task: Enqueuer[..., object], calls: Calls, over: asyncio.Event) -> None:
    """Make calls of random keys until it is over, and await some."""
    while not over.is_set():
        key = random.choice(KEYS)
        job = await calls.make(key, task.enqueue(seconds=key))
        if random.random() < 0.1:
            await job


def events_of(book: Book) -> dict[str, list[Event]]:
    """Return what happened to each job, in the order of time."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in book.events:
        found[event.job].append(event)
    return found


def overlaps(book: Book, keys: Iterable[Iterable[str]]) -> list[tuple[str, str]]:
    """Return pairs of jobs of one key of which the second began before the first had ended."""
    events = events_of(book)
    found: list[tuple[str, str]] = []
    for jobs in keys:
        own = sorted((one for one in jobs if one in events), key=lambda one: events[one][0].at)
        found += [
            (one, two) for one, two in pairwise(own) if events[one][-1].at > events[two][0].at
        ]
    return found
