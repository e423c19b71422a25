"""A worker of aiostreamq whose queue has lanes, and tasks that tell when they start and stop.

An adapter as the others are, of which only the command `worker` is of use.
"""

import asyncio
import random
import signal
import time
from collections import Counter

import uvloop

from aiostreamq import Context, Queue, Task, Worker
from benchmarks.harness import CONCURRENCY, bodies, emit, main
from benchmarks.ours import connect

MODULE = "benchmarks.steered"
NAME = "steered"
WEIGHTS = {"high": 8, "default": 4, "low": 1}


class Steered:
    """The queue and its tasks."""

    def __init__(self, url: str) -> None:
        self.queue = Queue(url, name=NAME, lanes=WEIGHTS)
        self._started = Counter[str]()
        self.rest: Task[[str, float], None] = self.queue.task(name="rest", result_ttl=0)(self._rest)
        self.clock: Task[[], float] = self.queue.task(name="clock", lane="high")(self._clock)
        self.hang: Task[[], None] = self.queue.task(name="hang")(self._hang)

    async def _rest(self, lane: str, seconds: float) -> None:
        self._started[lane] += 1
        if self._started.total() == bodies.expected:
            emit(**self._started)
        # Not all alike: else all slots come free at the same moment.
        await asyncio.sleep(random.uniform(0, 2 * seconds))

    async def _clock(self) -> float:
        return time.perf_counter()

    async def _hang(self, context: Context) -> None:
        emit(started=context.job_id)
        try:
            await asyncio.Event().wait()
        finally:
            emit(stopped=time.perf_counter())


def work(url: str) -> None:
    """Run one worker process until SIGTERM."""

    async def serve() -> None:
        worker = Worker(Steered(url).queue, concurrency=CONCURRENCY)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()

    uvloop.run(serve())


if __name__ == "__main__":
    main(connect, work)
