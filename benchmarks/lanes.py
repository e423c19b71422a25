"""Do full lanes get their shares, and how soon does a high job start behind many low ones?

Shares are counted in the worker, over the first jobs that it starts of three full lanes.
Then the low lane alone is full: all slots are taken, and one comes free every 0.2 ms. High jobs
are enqueued one after the other, and tell when their body began; both processes read
the clock of the machine.
"""

import asyncio
import time
from dataclasses import replace

from benchmarks.contestants import OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server
from benchmarks.steered import MODULE, WEIGHTS, Steered

#: Jobs that wait in each lane, and how many of all are counted: the lanes are full until then.
FULL, COUNTED = 5_000, 6_500

#: Seconds that a low job takes on average, and how many high ones are timed.
TAKES = 0.02
HIGH = 500


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Count shares of full lanes; then time high jobs behind *jobs* low ones."""
    contestant = replace(contestant, module=MODULE)
    asyncio.run(_fill(server.url, dict.fromkeys(WEIGHTS, FULL), 0.0))
    with Adapter(contestant, "worker", server.url, jobs=COUNTED) as worker:
        started = worker.answer()
    server.flush()
    asyncio.run(_fill(server.url, {"low": jobs}, TAKES))
    with Adapter(contestant, "worker", server.url):
        delays = sorted(asyncio.run(_time_high(server.url)))
    return {
        "off_percent": max(_off(started, lane) for lane in WEIGHTS),
        "p50_ms": 1000 * delays[len(delays) // 2],
        "p99_ms": 1000 * delays[len(delays) * 99 // 100],
        "max_ms": 1000 * delays[-1],
    }


def _off(started: dict[str, int], lane: str) -> float:
    share = COUNTED * WEIGHTS[lane] / sum(WEIGHTS.values())
    return 100 * abs(started.get(lane, 0) - share) / share


async def _fill(url: str, counts: dict[str, int], seconds: float) -> None:
    steered = Steered(url)
    async with steered.queue as queue:
        for lane, count in counts.items():
            rest = steered.rest.using(lane=lane)
            await queue.enqueue_many(rest.bind(lane, seconds) for _ in range(count))


async def _time_high(url: str) -> list[float]:
    steered = Steered(url)
    delays: list[float] = []
    async with steered.queue as queue:
        await (await steered.clock.enqueue())  # the worker is up, and at the low ones
        for _ in range(HIGH):
            sent = time.perf_counter()
            delays.append(await (await steered.clock.enqueue()) - sent)
        if not (await queue.info()).waiting:
            raise ContestantFailed("the low jobs came to an end too early: ask for more --jobs")
    return delays


QUESTION = Question(
    name="lanes",
    title="Shares of full lanes that weigh 8, 4 and 1, and the start of high jobs behind low ones.",
    jobs=100_000,
    metrics=(
        metric("off_percent", "furthest from its share, %", digits=2),
        metric("p50_ms", "high job started, p50 ms", digits=2),
        metric("p99_ms", "p99 ms", digits=2),
        metric("max_ms", "slowest, ms", digits=2),
    ),
    measure=measure,
    contestants=(OURS,),
    able=(OURS,),
)

if __name__ == "__main__":
    main(QUESTION)
