"""The cost of one test: an isolated queue in memory, one job, and a worker that runs it.

    python benchmarks/test_cost.py [tests]

Wall time depends on what else the machine does, so the time of the processor is shown beside it.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable

from aiostreamq import Queue, Worker
from aiostreamq.testing import isolated

queue = Queue(name="bench")


@queue.task
async def add(one: int, other: int) -> int:
    return one + other


async def enqueue_only() -> None:
    async with isolated(queue) as test:
        await add.enqueue(1, 2)
        await test.assert_enqueued(add, 1, 2)


async def run_all() -> None:
    async with isolated(queue) as test:
        await add.enqueue(1, 2)
        await test.run_all()


async def own_worker() -> None:
    async with isolated(queue), Worker(queue):
        assert await (await add.enqueue(1, 2)).result(timeout=30) == 3


async def clock() -> None:
    async with isolated(queue) as test:
        now = test.stop_clock()
        await add.using(delay="1h").enqueue(1, 2)
        await now.advance("2h")
        assert len(test.runs) == 1


def measure(one: Callable[[], Awaitable[None]], tests: int) -> None:
    with asyncio.Runner() as runner:
        runner.run(one())  # type: ignore[arg-type]
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(tests):
        with asyncio.Runner() as runner:
            runner.run(one())  # type: ignore[arg-type]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{one.__name__:14} {wall / tests * 1000:7.1f} ms wall {cpu / tests * 1000:7.1f} ms cpu")


if __name__ == "__main__":
    logging.disable()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for each in (enqueue_only, run_all, own_worker, clock):
        measure(each, count)
