"""`isolated`: the application's own queue on a Redis of the test's own."""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Self

from aiostreamq.client.core import core_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.queue import Queue
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.testing.clock import Clock
from aiostreamq.testing.enqueued import EnqueuedJob, enqueued_jobs
from aiostreamq.testing.expectation import Expectation, expectation
from aiostreamq.testing.faults import Faults
from aiostreamq.testing.performer import Performer
from aiostreamq.testing.run_limit import MOST_RUNS
from aiostreamq.testing.run_records import RunOutcome, RunRecorder
from aiostreamq.testing.watched_connector import WatchedConnector
from aiostreamq.testing.worker_runs import WorkerRuns

if TYPE_CHECKING:
    from types import TracebackType

    from aiostreamq.model.duration import Duration
    from aiostreamq.testing.expectation import Expected

# Seconds. Under a clock, a lease passes in steps of 0.8 seconds, each of which is a script call.
LEASE = 60.0


class IsolatedQueue(Performer):
    """An application's queue while a test has it: on a Redis of its own, with nothing in it.

    The tasks, schedules, lanes and limits are those of the application. Made by `isolated`.
    """

    def __init__(self, queue: Queue, url: str, lease: "Duration", concurrency: int) -> None:
        super().__init__(queue)
        self._core = core_of(queue)
        self._url = url
        self._lease = lease
        self._concurrency = concurrency
        self._faults = Faults()
        self._runs: WorkerRuns | None = None  # while it is isolated

    def begin(self) -> Self:
        """Isolate the queue, as `async with` does. Needs no event loop.

        Raises:
            UsageError: The queue is open, or isolated already.
        """
        if self._runs is not None or isinstance(self._core.listeners.thread, RunRecorder):
            raise UsageError(f"queue {self.queue.name!r} is isolated already: leave that first")
        connector = WatchedConnector(connector_for(self._url), self._attach_clock, self._faults)
        self._connect = self._core.sessions.replace_connect(lambda: connector)
        self._runs = WorkerRuns(self.queue, self._lease, self._concurrency)
        return self

    def end(self) -> None:
        """Do the same as `aend` from code without an event loop, such as a fixture."""
        loop = self._core.sessions.loop
        if loop is None or loop.is_closed() or loop.is_running():
            self._restore()
        else:
            loop.run_until_complete(self.aend())

    async def aend(self) -> None:
        """Close what the test has left open, and give the queue its own Redis back."""
        if self._runs is not None and self._runs.clock is not None:
            self._runs.clock.close()
        try:
            if self._runs is not None:
                await self._runs.aclose()
                await self._core.sessions.close_for_all()
        finally:
            self._restore()

    def _restore(self) -> None:
        runs, self._runs = self._runs, None
        if runs is not None:
            if runs.clock is not None:
                runs.clock.close()
            runs.recorder.close()
            self._core.sessions.abandon()
            self._core.sessions.replace_connect(self._connect)

    async def __aenter__(self) -> Self:
        return self.begin()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self.aend()

    @property
    def runs(self) -> tuple[RunOutcome, ...]:
        """All runs so far, in the order of their ends. They have no values: see `run_all`."""
        return tuple(self._workers.recorder.runs)

    async def run_all(self, *, most_runs: int = MOST_RUNS) -> list[RunOutcome]:
        """Run all jobs that are due, and those that they enqueue, until none is left.

        A real worker runs them, with its scripts, retries, schedules and limits. Jobs for later
        stay delayed.

        Args:
            most_runs: The most runs of jobs.

        Returns:
            The outcome of each run, in the order of their ends.

        Raises:
            UsageError: There are more runs than *most_runs*, as if jobs enqueue each other without
                an end.
            BrokerError: Redis refused.

        Cancelling stops the worker.
        """
        return await self._workers.run_all(most_runs)

    async def run_one(self) -> RunOutcome | None:
        """Run the next job that is due: the one that a worker would start first.

        Returns:
            The outcome of its run, or None if no job was due.

        Raises:
            BrokerError: Redis refused.

        Cancelling stops the worker.
        """
        return await self._workers.run_one()

    async def all_enqueued(self) -> list[EnqueuedJob]:
        """Return all jobs that wait to be run: queued, delayed, and parked.

        Raises:
            BrokerError: Redis refused.
        """
        _ = self._workers
        return await enqueued_jobs(self.queue, self._core)

    async def assert_enqueued(
        self,
        task: "Expected",
        /,
        *args: object,
        delay: "Duration | None" = None,
        within: "Duration" = 1,
        lane: str | None = None,
        id: str | None = None,  # noqa: A002  # as `using` has it
    ) -> EnqueuedJob:
        """Check that a job waits to be run.

        Args:
            task: The task, its name, or a whole call, as `task.bind(1, b=2)`.
            *args: All its positional arguments. Without any, the arguments may be anything.
            delay: Seconds (or "2h") until it is due; 0 if it is due now.
            within: Seconds by which the delay may differ.
            lane: Its lane.
            id: Its id.

        Returns:
            The first job that is as expected.

        Raises:
            AssertionError: There is none. The message lists those that wait, and what differs.
            UsageError: The arguments do not fit the task, or an option is invalid.
            PayloadError: An argument cannot be sent as JSON.
            BrokerError: Redis refused.
        """
        expected = expectation(self._core, task, args, delay, within, lane, id)
        jobs = await self.all_enqueued()
        found = next((job for job in jobs if not expected.faults(job)), None)
        if found is None:
            raise AssertionError(expected.difference(self.queue.name, jobs))
        return found

    async def refute_enqueued(
        self,
        task: "Expected",
        /,
        *args: object,
        delay: "Duration | None" = None,
        within: "Duration" = 1,
        lane: str | None = None,
        id: str | None = None,  # noqa: A002  # as above
    ) -> None:
        """Check that no job waits to be run that is like this.

        The arguments are those of `assert_enqueued`.

        Raises:
            AssertionError: There is one; the message shows it.
            UsageError: The arguments do not fit the task, or an option is invalid.
            PayloadError: An argument cannot be sent as JSON.
            BrokerError: Redis refused.
        """
        expected: Expectation = expectation(self._core, task, args, delay, within, lane, id)
        found = [job for job in await self.all_enqueued() if not expected.faults(job)]
        if found:
            shown = "\n".join(f"  {job}" for job in found)
            raise AssertionError(
                f"expected no {expected} in queue {self.queue.name!r}, which holds:\n{shown}"
            )

    def stop_clock(self, start: datetime | None = None, *, frozen: bool = False) -> Clock:
        """Stop the time, until the queue is no longer isolated; it passes by the clock's `advance`.

        Args:
            start: The time to begin with: a datetime with a time zone; None is the present.
            frozen: Whether the clocks of Python, such as `datetime.now`, show this time too.
                Needs time-machine.

        Raises:
            UsageError: The queue is on a real server, the time is stopped already, *start* is
                invalid, or time-machine is missing.
        """
        runs = self._workers
        if not self._url.startswith("memory://"):
            raise UsageError("a real Redis has its own clock: isolate the queue on memory://")
        runs.clock = Clock(start, runs.count_running, runs.working, frozen=frozen)
        with suppress(RuntimeError):  # without a loop: it is attached to that of the first link
            runs.clock.attach()
        return runs.clock

    def kill_after_pickup(self) -> None:
        """Have the worker die that picks up the next job, mostly before the task's code runs.

        It leaves as a killed process does: it settles nothing and beats no more. Another worker
        runs the job when the lease is over, with the next delivery number. It concerns the workers
        of this test's `run_all`, `run_one` and clock.
        """
        self._workers.kill_after_pickup()

    def lose_ack(self, times: int = 1) -> None:
        """Lose the reply when the outcomes of jobs are next stored.

        The outcomes are stored, and the connection breaks before the worker learns of it.

        Args:
            times: How many such replies are lost, one after the other.
        """
        self._faults.lost_acks = times

    def slow_redis(self, delay: "Duration") -> None:
        """Have each reply come *delay* seconds late from now on; 0 ends it.

        Under a stopped clock they pass with `advance`, `run_all` and `run_one` only.

        Raises:
            UsageError: *delay* is not a duration.
        """
        self._faults.delay = seconds("delay", delay)

    def _attach_clock(self) -> None:
        if self._runs is not None and self._runs.clock is not None:
            self._runs.clock.attach()

    @property
    def _workers(self) -> WorkerRuns:
        if self._runs is None:
            raise UsageError(
                f"queue {self.queue.name!r} is not isolated (any more): use it inside of "
                f"`async with isolated(queue) as test:`"
            )
        return self._runs


def isolated(
    queue: Queue,
    url: str = "memory://",
    *,
    lease: "Duration" = LEASE,
    concurrency: int = 100,
) -> IsolatedQueue:
    """Return the application's queue, isolated for a test.

    Inside `async with isolated(app.queue) as test:`, the queue is on an empty Redis of the test.

    Args:
        queue: The queue. It must not be open.
        url: The Redis to use: a new one in memory, or the URL of a server, which must be empty.
        lease: Seconds of silence after which a worker of the test is taken for dead.
        concurrency: How many jobs `run_all` runs at once.

    Raises:
        UsageError: *queue* is not a queue, or *url* is invalid.
    """
    if not isinstance(queue, Queue):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
        raise UsageError(f"isolated takes the Queue to isolate, got {queue!r}")
    return IsolatedQueue(queue, url, lease, concurrency)
