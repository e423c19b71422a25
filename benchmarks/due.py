"""How late do delayed jobs start on an idle worker?

One after the other, so that each is added while the worker sleeps until a later one: a job for
the next day waits there first. Its body tells when it began; all go by the clock of the machine.
"""

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from benchmarks.contestants import OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server
from benchmarks.steered import MODULE, Steered

#: Seconds until a job is due: at random, as what looks now and then is late at random.
SOONEST, LATEST = 0.02, 0.12


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Let *jobs* jobs become due, one after the other."""
    with Adapter(replace(contestant, module=MODULE), "worker", server.url):
        late = sorted(asyncio.run(_time(server.url, jobs)))
    if late[0] < 0:
        raise ContestantFailed(f"a job began {-late[0]} s before it was due")
    return {
        "p50_ms": 1000 * late[jobs // 2],
        "p99_ms": 1000 * late[jobs * 99 // 100],
        "max_ms": 1000 * late[-1],
    }


async def _time(url: str, jobs: int) -> list[float]:
    """Return by how many seconds each job began later than it was to."""
    steered = Steered(url)
    late: list[float] = []
    async with steered.queue:
        await (await steered.clock.enqueue())  # the worker is up
        await steered.clock.using(delay="1d").enqueue()
        for _ in range(jobs):
            due = datetime.now(UTC) + timedelta(seconds=random.uniform(SOONEST, LATEST))
            due = due.replace(microsecond=due.microsecond // 1000 * 1000)
            ahead = time.time() - time.perf_counter()
            began = await (await steered.clock.using(at=due).enqueue())
            late.append(began + ahead - due.timestamp())
    return late


QUESTION = Question(
    name="due",
    title="Delayed jobs that become due on an idle worker, one after the other.",
    jobs=500,
    metrics=(
        metric("p50_ms", "late, p50 ms", digits=2),
        metric("p99_ms", "p99 ms", digits=2),
        metric("max_ms", "latest, ms", digits=2),
    ),
    measure=measure,
    contestants=(OURS,),
    able=(OURS,),
)

if __name__ == "__main__":
    main(QUESTION)
