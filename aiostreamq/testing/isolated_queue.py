"""`isolated`: the application's own queue on a Redis of the test's own."""

from typing import TYPE_CHECKING, Self

from aiostreamq.client.core import core_of
from aiostreamq.errors import UsageError
from aiostreamq.queue import Queue
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.testing.run_records import RunOutcome, RunRecorder, with_values
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType

    from aiostreamq.model.duration import Duration

# Seconds. Long beside what tests let pass, so that a clock that is put forward by hours has few
# beats to run. A test of dead workers gives the lease that it wants.
LEASE = 3600.0

# How many bursts `run_all` makes at most: jobs that enqueue each other for ever are a mistake.
MOST_BURSTS = 1000


class IsolatedQueue:
    """An application's queue while a test has it: on a Redis of its own, with nothing in it.

    The tasks, schedules, lanes and limits are those of the application. Made by `isolated`.
    """

    def __init__(self, queue: Queue, url: str, lease: "Duration", concurrency: int) -> None:
        self.queue = queue  #: the application's queue
        self._core = core_of(queue)
        self._url = url
        self._lease = lease
        self._concurrency = concurrency
        self._recorder: RunRecorder | None = None

    def begin(self) -> Self:
        """Isolate the queue, as `async with` does. Needs no event loop.

        Raises:
            UsageError: The queue is open, or isolated already.
        """
        if self._recorder is not None or isinstance(self._core.listeners.thread, RunRecorder):
            raise UsageError(f"queue {self.queue.name!r} is isolated already: leave that first")
        connector = connector_for(self._url)
        self._connect = self._core.sessions.replace_connect(lambda: connector)
        self._recorder = RunRecorder(self._core.listeners)
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
        try:
            if self._recorder is not None:
                await self._core.sessions.close_for_all()
        finally:
            self._restore()

    def _restore(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()
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
        return tuple(self._recording.runs)

    async def run_all(self) -> list[RunOutcome]:
        """Run all jobs that are due, and those that they enqueue, until none is left.

        A real worker runs them, with its scripts, retries, schedules and limits. Jobs for later
        stay delayed.

        Returns:
            The outcome of each run, in the order of their ends.

        Raises:
            UsageError: Jobs enqueue each other without an end.
            BrokerError: Redis refused.

        Cancelling stops the worker.
        """
        before = len(self._recording.runs)
        self._core.session()  # a use of its own, so that the connections outlive the workers
        for _ in range(MOST_BURSTS):
            await Worker(self.queue, concurrency=self._concurrency, lease=self._lease).run(
                burst=True
            )
            moved, _ = await DelayedJobs(self._core.session().store).promote()
            if not moved:
                return await with_values(self._core, self._recording.runs[before:])
        raise UsageError(
            f"{MOST_BURSTS} bursts have not emptied queue {self.queue.name!r}: its jobs enqueue "
            f"each other; use run_one() to run them one at a time"
        )

    async def run_one(self) -> RunOutcome | None:
        """Run the next job that is due: the one that a worker would start first.

        Returns:
            The outcome of its run, or None if no job was due.

        Raises:
            BrokerError: Redis refused.

        Cancelling stops the worker.
        """
        recorder = self._recording
        before = len(recorder.runs)
        self._core.session()
        worker = Worker(self.queue, concurrency=1, lease=self._lease)
        recorder.noticed = worker.drain
        try:
            await worker.run(burst=True)
        finally:
            recorder.noticed = None
        runs = await with_values(self._core, recorder.runs[before : before + 1])
        return runs[0] if runs else None

    @property
    def _recording(self) -> RunRecorder:
        if self._recorder is None:
            raise UsageError(
                f"queue {self.queue.name!r} is not isolated (any more): use it inside of "
                f"`async with isolated(queue) as test:`"
            )
        return self._recorder


def isolated(
    queue: Queue,
    url: str = "memory://",
    *,
    lease: "Duration" = LEASE,
    concurrency: int = 100,
) -> IsolatedQueue:
    """Return the application's queue, isolated for a test.

    Use it as `async with isolated(app.queue) as test:`. Inside, all code that enqueues with the
    queue's tasks does so on an empty Redis of the test's own, without any change to that code.
    Afterwards the queue connects as before.

    Args:
        queue: The queue. It must not be open.
        url: The Redis to use: a new one in memory, or the URL of a server. Keys of a server
            stays: give one that is empty.
        lease: Seconds of silence after which a worker of the test is taken for dead.
        concurrency: How many jobs `run_all` runs at once.

    Raises:
        UsageError: *url* is invalid.
    """
    return IsolatedQueue(queue, url, lease, concurrency)
