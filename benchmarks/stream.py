"""How fast do the chunks of one job reach one client?

The task yields short strings as fast as it can, in a worker process. A client in
another process follows the job from the first chunk to the last. Nothing
makes the task wait for the client, so what the client misses is counted too.
"""

import asyncio
import time

from aiostreamq import Chunk, Event, Lost, Queue
from benchmarks.contestants import OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

#: Chunks of an unmeasured job before, which connects both sides.
WARM_UP = 1_000


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Follow one job that yields *jobs* chunks."""
    with Adapter(contestant, "worker", server.url) as worker:
        asyncio.run(_follow(server.url, WARM_UP))
        before, cpu_before = server.snapshot(), worker.cpu_seconds()
        elapsed, read, lost = asyncio.run(_follow(server.url, jobs))
        spent, cpu_after = server.snapshot() - before, worker.cpu_seconds()
    if read + lost != jobs:
        raise ContestantFailed(f"of {jobs} chunks {read} were read and {lost} lost")
    cpu = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return {
        "chunks_per_second": read / elapsed,
        "lost_percent": 100 * lost / jobs,
        "worker_us_per_chunk": None if cpu is None else 1e6 * cpu / jobs,
        "redis_us_per_chunk": 1e6 * spent.cpu_seconds / jobs,
    }


async def _follow(url: str, chunks: int) -> tuple[float, int, int]:
    read = lost = 0
    async with Queue(url, name="bench") as queue:
        job = await queue.enqueue("stream", chunks)
        began: float | None = None
        event: Event[object]
        async for event in job.events():
            began = began or time.perf_counter()
            if isinstance(event, Chunk):
                read += 1
            elif isinstance(event, Lost):
                lost += event.count
        return time.perf_counter() - (began or 0.0), read, lost


QUESTION = Question(
    name="stream",
    title="The chunks of one streaming job, followed by one client.",
    jobs=500_000,
    metrics=(
        metric("chunks_per_second", "chunks/s", more_is_better=True),
        metric("lost_percent", "lost, %", digits=2),
        metric("worker_us_per_chunk", "worker CPU, µs/chunk", digits=2),
        metric("redis_us_per_chunk", "Redis CPU, µs/chunk", digits=2),
    ),
    measure=measure,
    contestants=(OURS,),
    able=(OURS,),
)

if __name__ == "__main__":
    main(QUESTION)
