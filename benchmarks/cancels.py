"""How soon is a running job stopped, and who awaits it told, when it is cancelled?

One job after the other, in a worker that is otherwise idle. Its body tells when it began, and
when the cancellation reached it; both processes read the clock of the machine.
"""

import asyncio
import time
from dataclasses import replace

from aiostreamq import JobCancelled, JobState
from benchmarks.contestants import OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server
from benchmarks.steered import MODULE, Steered


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Start and cancel *jobs* jobs."""
    with Adapter(replace(contestant, module=MODULE), "worker", server.url) as worker:
        stopped, told = map(sorted, asyncio.run(_cancel(server.url, worker, jobs)))
    return {
        "stopped_p50_ms": 1000 * stopped[jobs // 2],
        "stopped_p99_ms": 1000 * stopped[jobs * 99 // 100],
        "stopped_max_ms": 1000 * stopped[-1],
        "told_p99_ms": 1000 * told[jobs * 99 // 100],
    }


async def _cancel(url: str, worker: Adapter, jobs: int) -> tuple[list[float], list[float]]:
    """Return the seconds from each cancel to the end of the body, and to that of the await."""
    steered = Steered(url)
    stopped: list[float] = []
    told: list[float] = []
    async with steered.queue:
        for _ in range(jobs):
            job = await steered.hang.enqueue()
            await asyncio.to_thread(worker.answer)
            asked = time.perf_counter()
            if await job.cancel() is not JobState.RUNNING:
                raise ContestantFailed(f"{job} was not running")
            try:
                await job
            except JobCancelled:
                told.append(time.perf_counter() - asked)
            stopped.append((await asyncio.to_thread(worker.answer))["stopped"] - asked)
    return stopped, told


QUESTION = Question(
    name="cancels",
    title="Running jobs cancelled, one after the other.",
    jobs=500,
    metrics=(
        metric("stopped_p50_ms", "body stopped, p50 ms", digits=2),
        metric("stopped_p99_ms", "p99 ms", digits=2),
        metric("stopped_max_ms", "slowest, ms", digits=2),
        metric("told_p99_ms", "who awaits it told, p99 ms", digits=2),
    ),
    measure=measure,
    contestants=(OURS,),
    able=(OURS,),
)

if __name__ == "__main__":
    main(QUESTION)
