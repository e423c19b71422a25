"""Runs of jobs that middleware has begun to observe, until the event of their end."""

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.logs import get_logger
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import RemoteException
from aiostreamq.telemetry import JobEnded, JobHandedBack, JobRetried
from aiostreamq.untrusted import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.middleware import RunCall
    from aiostreamq.telemetry import TelemetryEvent

T = TypeVar("T")

# The ends of jobs that are failures.
BAD_ENDS = {JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD}

RunEnd = JobEnded | JobRetried | JobHandedBack

logger = get_logger("aiostreamq.telemetry")

# Runs that are kept. There are more only if events were dropped: the oldest end without one.
MOST_OPEN = 20_000


class OpenRuns(Generic[T]):
    """Observed runs by worker, job and attempt. It is a listener of their queue.

    A run is finished in the thread of listeners: so an exporter that hangs delays neither the job
    nor the worker.
    """

    def __init__(self, finish: "Callable[[T, RunEnd | None], None]") -> None:
        """Begin without runs.

        Args:
            finish: Called with each run and its end, which is None if that remains unknown.
        """
        self._finish = finish
        self._runs: dict[tuple[str, str, int], T] = {}

    def begin(self, call: "RunCall", run: T) -> None:
        """Keep a run until it ends."""
        runs, key = self._runs, (call.worker, call.job_id, call.attempt)
        left = runs.pop(key, None)  # its event was dropped
        if left is None and len(runs) >= MOST_OPEN:
            left = runs.pop(next(iter(runs)), None)
        runs[key] = run
        if left is not None:
            self._finish(left, None)

    def __call__(self, event: "TelemetryEvent") -> None:
        """Finish the run that has ended."""
        if isinstance(event, RunEnd):
            run = self._runs.pop((event.worker, event.job_id, event.attempt), None)
            if run is not None:
                self._finish(run, event)


class Bulk(Generic[T]):
    """One span for the calls that `enqueue_many` prepares together, in one turn of the loop."""

    def __init__(self, begin: "Callable[[], T]", end: "Callable[[T, int], None]") -> None:
        """Prepare.

        Args:
            begin: Begins a span.
            end: Ends it; called with the number of calls.
        """
        self._begin = begin
        self._end = end
        self._current: tuple[object, T, list[None]] | None = None  # task, span, calls

    def span(self) -> T:
        """Return the span of one more call. Called in an event loop."""
        task, current = asyncio.current_task(), self._current
        if current is None or current[0] is not task:
            current = self._current = task, self._begin(), []
            asyncio.get_running_loop().call_soon(self._finish, current)
        _, span, calls = current
        calls.append(None)
        return span

    def _finish(self, current: "tuple[object, T, list[None]]") -> None:
        if self._current is current:
            self._current = None
        _, span, calls = current
        self._end(span, len(calls))


def kind_of(error: BaseException) -> str:
    """Return the name of the class of an exception, also of one that a process has raised."""
    return error.failure.type if isinstance(error, RemoteException) else name_of(type(error))


class Complaints:
    """Logs what the library that observes raises, once a kind: a job never fails for that."""

    def __init__(self, name: str) -> None:
        """Prepare; *name* is that of the library."""
        self._name = name
        self._logged: set[type] = set()

    def note(self, error: BaseException) -> None:
        """Log an exception, unless one of its class was logged before."""
        if type(error) not in self._logged:
            self._logged.add(type(error))
            logger.error(
                "%s raised, which is not logged again for %s; the job is not observed",
                self._name,
                name_of(type(error)),
                exc_info=error,
            )
