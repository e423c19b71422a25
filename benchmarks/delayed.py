"""A million jobs become due at the same moment: do others get their turn meanwhile?

They are enqueued for one moment, half a minute off, and one worker waits for it.
From then on another client sends PING every few milliseconds, and the slowest
answer is what anybody else would have felt. One round is enough of this.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from aiostreamq import Queue
from benchmarks.contestants import OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

PING_EVERY = 0.005

#: Jobs a second that enqueueing reaches at the least, so that all are in before they are due.
SLOWEST_LOAD = 12_000

PATIENCE = 600.0

KEYS = "aiostreamq:{bench}:"


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Let *jobs* jobs become due at once, and watch until all have ended."""
    due = datetime.now(UTC) + timedelta(seconds=2 + jobs / SLOWEST_LOAD)
    asyncio.run(_load(server.url, jobs, due))
    if datetime.now(UTC) > due:
        raise ContestantFailed("enqueueing took longer than the time until they were due")
    asker: Any = redis.Redis.from_url(server.url)
    with Adapter(contestant, "worker", server.url):
        time.sleep((due - datetime.now(UTC)).total_seconds())
        pings, promoted, ended = _watch(asker, jobs)
    return {
        "promoted_per_second": jobs / promoted,
        "ended_per_second": jobs / ended,
        "ping_p99_ms": statistics.quantiles(pings, n=100)[98],
        "ping_max_ms": max(pings),
    }


async def _load(url: str, jobs: int, due: datetime) -> None:
    async with Queue(url, name="bench") as queue:

        @queue.task(name="noop", result_ttl=0)
        async def noop(number: int) -> None:
            raise AssertionError("this one is only for its name")

        later = noop.using(at=due)
        # In parts, as all handles together would be in the way of the measurement.
        for start in range(0, jobs, 10_000):
            numbers = range(start, min(start + 10_000, jobs))
            await queue.enqueue_many(later.bind(number) for number in numbers)


def _watch(asker: Any, jobs: int) -> tuple[list[float], float, float]:
    """Return the milliseconds of all PINGs, and the seconds until all were promoted, and ended."""
    began = time.perf_counter()
    pings: list[float] = []
    promoted: float | None = None
    while (elapsed := time.perf_counter() - began) < PATIENCE:
        sent = time.perf_counter()
        asker.ping()
        pings.append((time.perf_counter() - sent) * 1000)
        time.sleep(PING_EVERY)
        if promoted is None and not asker.zcard(KEYS + "delayed"):
            promoted = elapsed
        if promoted is not None and not asker.xlen(KEYS + "stream:default"):
            return pings, promoted, elapsed
    raise ContestantFailed(f"not all of {jobs} jobs had ended after {PATIENCE:g} s")


QUESTION = Question(
    name="delayed",
    title="A million jobs due at the same moment, one worker.",
    jobs=1_000_000,
    metrics=(
        metric("promoted_per_second", "promoted/s", more_is_better=True),
        metric("ended_per_second", "ended/s", more_is_better=True),
        metric("ping_p99_ms", "PING of others, p99 ms", digits=2),
        metric("ping_max_ms", "slowest PING, ms", digits=2),
    ),
    measure=measure,
    contestants=(OURS,),
    able=(OURS,),
)

if __name__ == "__main__":
    main(QUESTION)
