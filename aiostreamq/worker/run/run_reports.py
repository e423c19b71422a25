"""The events of a run, for listeners. Called only if there are any."""

from typing import TYPE_CHECKING

from aiostreamq.model.listener_events import JobEnded, JobHandedBack, JobRetried, JobStarted
from aiostreamq.model.outcome import JobState

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.worker.listener_events import WorkerListeners
    from aiostreamq.worker.run.run import Run


def report_start(listeners: "WorkerListeners", run: "Run") -> None:
    """Report that a job starts."""
    listeners.report(JobStarted, run.spec.name, run.delivery.job_id, run.delivery.attempt)


def report_end(
    listeners: "WorkerListeners",
    run: "Run",
    state: JobState | None,
    now_ms: float,
    *,
    ran: float = 0.0,
    error: BaseException | None = None,
) -> None:
    """Report that a job has ended.

    Args:
        listeners: Take the event.
        run: Its run.
        state: How it ended; None if it returned.
        now_ms: The present, by Redis's clock.
        ran: Seconds since it was started.
        error: The exception that it raised.
    """
    delivery = run.delivery
    waited = max(0.0, (now_ms - _ready_ms(delivery)) / 1000 - ran)
    listeners.report(
        JobEnded,
        run.spec.name,
        delivery.job_id,
        delivery.attempt,
        state or JobState.DONE,
        waited,
        ran,
        error,
    )


def report_retry(
    listeners: "WorkerListeners",
    run: "Run",
    after: float,
    ran: float,
    error: BaseException,
) -> None:
    """Report that a job will be run again in *after* seconds, as it raised *error* after *ran*."""
    delivery = run.delivery
    listeners.report(
        JobRetried, run.spec.name, delivery.job_id, delivery.attempt, after, ran, error
    )


def report_hand_back(listeners: "WorkerListeners", run: "Run") -> None:
    """Report that a run was cut short."""
    listeners.report(JobHandedBack, run.spec.name, run.delivery.job_id, run.delivery.attempt)


def _ready_ms(delivery: "Delivery") -> int:
    """Return when it came into its stream, in ms: the first part of an entry's id."""
    return int(delivery.entry.partition(b"-")[0])
