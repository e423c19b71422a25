"""The workers that run the jobs of an isolated queue, when the test says so."""

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.client.core import core_of
from aiostreamq.errors import UsageError
from aiostreamq.model.listener_events import JobStarted
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.testing.run_limit import MOST_RUNS, RunLimit
from aiostreamq.testing.run_records import RunOutcome, RunRecorder, with_values
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator
    from typing import Any

    from aiostreamq.model.duration import Duration
    from aiostreamq.queue import Queue
    from aiostreamq.testing.clock import Clock

T = TypeVar("T")

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
        # Those that the clock lets work, and those that wait for jobs that still run.
        self._workers: list[tuple[Worker, OwnTask[None]]] = []
        self._is_working = False
        self._burst: Worker | None = None  # the one of `run_all` or `run_one`
        self._has_killed = False

    def kill_after_pickup(self) -> None:
        """Kill the worker that begins the next job; see `IsolatedQueue.kill_after_pickup`."""
        if self.clock is not None:
            self.clock.leases_pass = True
        self.recorder.started = self._kill

    def _kill(self, event: JobStarted) -> None:
        workers = [worker for worker, _ in self._workers]
        if self._burst is not None:
            workers.append(self._burst)
        for worker in workers:
            if worker.name == event.worker:
                self.recorder.started = None
                self._has_killed = True
                asyncio.get_running_loop().call_soon(self._abort, worker)

    def _abort(self, worker: Worker) -> None:
        worker.abort()
        self.recorder.forget_worker(worker.name)
        if self._is_working:
            self._start_worker()  # another takes over, as there is more than one

    async def run_all(self, most_runs: int) -> list[RunOutcome]:
        """Run all jobs that are due; see `IsolatedQueue.run_all`."""
        with self._limited("run_all", most_runs) as limit:
            return await self._driven(self._run_all(limit), limit)

    async def _run_all(self, limit: RunLimit) -> list[RunOutcome]:
        before = len(self.recorder.runs)
        store = self._core.session().store  # held, so that the connections outlive the workers
        for _ in range(MOST_BURSTS):
            await self._run_burst(self._new_worker(self._concurrency))
            limit.check()
            moved, _ = await DelayedJobs(store).promote()
            # The next burst waits for the lease of a worker that was killed.
            is_over, self._has_killed = not moved and not self._has_killed, False
            if is_over:
                return await with_values(self._core, self.recorder.runs[before:])
        raise UsageError(
            f"{MOST_BURSTS} bursts have not emptied queue {self._queue.name!r}: its jobs enqueue "
            f"each other; use run_one() to run them one at a time"
        )

    async def run_one(self) -> RunOutcome | None:
        """Run the next job that is due; see `IsolatedQueue.run_one`."""
        with self._limited("run_one", MOST_RUNS) as limit:
            return await self._driven(self._run_one(), limit)

    async def _run_one(self) -> RunOutcome | None:
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
    async def working(self, most_runs: int) -> "AsyncGenerator[RunLimit, None]":
        """Have a worker run, while the clock lets time pass.

        A job that still runs at the end has its worker wait for it.
        """
        assert self.clock is not None, "the clock has called this"
        self._core.session()
        self._workers = [one for one in self._workers if not one[1].done()]
        self._is_working = True
        try:
            with self._limited("advance", most_runs) as limit:
                self._start_worker()
                yield limit
        finally:
            self._is_working = False
            for worker, _ in self._workers:
                worker.drain()
        await self.clock.attach().settle()
        for _, running in self._workers:
            if running.done():
                await running  # it raises what has ended the worker

    @contextmanager
    def _limited(self, call: str, most_runs: int) -> "Generator[RunLimit, None]":
        self.recorder.limit = limit = RunLimit(call, most_runs, self._drain)
        try:
            yield limit
        finally:
            self.recorder.limit = None

    def _drain(self) -> None:
        for worker, _ in self._workers:
            worker.drain()
        if self._burst is not None:
            self._burst.drain()

    def _start_worker(self) -> None:
        worker = self._new_worker(self._concurrency)
        self._workers.append((worker, spawn(worker.run(), "aiostreamq:test")))

    def count_running(self) -> tuple[int, int]:
        """Return how many jobs run in threads or processes, and how many on the loop."""
        running = [self._core.spec_of(one.task) for one in self.recorder.running.values()]
        off_loop = sum(spec is not None and spec.pool is not None for spec in running)
        return off_loop, len(running) - off_loop

    async def aclose(self) -> None:
        """End the workers that still run."""
        leaving, self._workers = self._workers, []
        for worker, _ in leaving:
            worker.abort()
        if leaving:
            await asyncio.wait([running for _, running in leaving])

    def _new_worker(self, concurrency: int) -> Worker:
        return Worker(self._queue, concurrency=concurrency, lease=self._lease)

    async def _run_burst(self, worker: Worker) -> None:
        self._burst = worker
        try:
            await worker.run(burst=True)
        finally:
            self._burst = None

    async def _driven(self, running: "Coroutine[Any, Any, T]", limit: RunLimit) -> T:
        """Run a coroutine, for which a stopped clock lets time pass."""
        if self.clock is None:
            return await running
        return await self.clock.drive(running, limit.note_moment)
