"""The workers that run the jobs of an isolated queue, when the test says so."""

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiostreamq.aio.protected_tasks import OwnTask, spawn
from aiostreamq.client.core import core_of
from aiostreamq.errors import UsageError
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.testing.run_records import RunOutcome, RunRecorder, with_values
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiostreamq.model.duration import Duration
    from aiostreamq.queue import Queue
    from aiostreamq.testing.clock import Clock

# How many bursts `run_all` makes at most: jobs that enqueue each other for ever are a mistake.
MOST_BURSTS = 1000


class WorkerRuns:
    """Starts real workers for a test, and ends them."""

    def __init__(self, queue: "Queue", lease: "Duration", concurrency: int) -> None:
        """Prepare; nothing is started.

        Args:
            queue: The queue.
            lease: The lease of the workers.
            concurrency: How many jobs they run at once.
        """
        self.recorder = RunRecorder(core_of(queue).listeners)
        self.clock: Clock | None = None  #: lets time pass for the workers, if the test has one
        self._queue = queue
        self._core = core_of(queue)
        self._lease = lease
        self._concurrency = concurrency
        # Workers that wait for jobs that still run.
        self._leaving: list[tuple[Worker, OwnTask[None]]] = []

    async def run_all(self) -> list[RunOutcome]:
        """Run all jobs that are due; see `IsolatedQueue.run_all`."""
        before = len(self.recorder.runs)
        store = self._core.session().store  # held, so that the connections outlive the workers
        for _ in range(MOST_BURSTS):
            await self._run_burst(self._new_worker(self._concurrency))
            moved, _ = await DelayedJobs(store).promote()
            if not moved:
                return await with_values(self._core, self.recorder.runs[before:])
        raise UsageError(
            f"{MOST_BURSTS} bursts have not emptied queue {self._queue.name!r}: its jobs enqueue "
            f"each other; use run_one() to run them one at a time"
        )

    async def run_one(self) -> RunOutcome | None:
        """Run the next job that is due; see `IsolatedQueue.run_one`."""
        recorder = self.recorder
        before = len(recorder.runs)
        self._core.session()
        worker = self._new_worker(1)
        recorder.noticed = worker.drain
        try:
            await self._run_burst(worker)
        finally:
            recorder.noticed = None
        runs = await with_values(self._core, recorder.runs[before : before + 1])
        return runs[0] if runs else None

    @asynccontextmanager
    async def working(self) -> "AsyncGenerator[None, None]":
        """Have a worker run, while the clock lets time pass.

        A job that still runs at the end has its worker wait for it.
        """
        assert self.clock is not None, "the clock has called this"
        self._core.session()
        self._leaving = [one for one in self._leaving if not one[1].done()]
        worker = self._new_worker(self._concurrency)
        running = spawn(worker.run(), "aiostreamq:test")
        try:
            yield
        finally:
            worker.drain()
            self._leaving.append((worker, running))
        await self.clock.attach().settle()
        if running.done():
            await running  # it raises what has ended the worker

    def count_running(self) -> tuple[int, int]:
        """Return how many jobs run in threads or processes, and how many on the loop."""
        running = [self._core.spec_of(one.task) for one in self.recorder.running.values()]
        off_loop = sum(spec is not None and spec.pool is not None for spec in running)
        return off_loop, len(running) - off_loop

    async def aclose(self) -> None:
        """End the workers that still run."""
        leaving, self._leaving = self._leaving, []
        for worker, _ in leaving:
            worker.abort()
        if leaving:
            await asyncio.wait([running for _, running in leaving])

    def _new_worker(self, concurrency: int) -> Worker:
        return Worker(self._queue, concurrency=concurrency, lease=self._lease)

    async def _run_burst(self, worker: Worker) -> None:
        burst = worker.run(burst=True)
        await (burst if self.clock is None else self.clock.drive(burst))
