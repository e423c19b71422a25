"""The metrics of this process: what its queue objects and workers do, from telemetry events."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aiostreamq.contrib.prometheus.tallies import CounterTally, HistogramTally
from aiostreamq.model.job_state import JobState
from aiostreamq.model.totals import OTHER_TASKS
from aiostreamq.telemetry import (
    ConnectionLost,
    ConnectionRegained,
    JobDelivered,
    JobEnded,
    JobEnqueued,
    JobHandedBack,
    JobParked,
    JobRetried,
    JobsRecovered,
    JobStarted,
    LoopBlocked,
    OutcomeRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.core import Metric

    from aiostreamq.queue import Queue
    from aiostreamq.telemetry import TelemetryEvent
    from aiostreamq.worker.worker import Worker

#: The bounds of the lag of an event loop, in seconds.
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

# Read with the module, and not in an event loop: it looks for files.
RELEASE = version("aiostreamq")

_TASK = ("queue", "task")
_QUEUE = ("queue",)

# The counters that have no other label.
_OF_QUEUES = (
    *("deliveries", "redeliveries", "refused_outcomes", "dead_workers", "recovered_jobs"),
    *("given_up_jobs", "loop_blocks"),
)


class ProcessMetrics(Collector):
    """Counts the events of queues, and looks at workers when it is asked.

    It is called in the thread of listeners, and collected in any other. It has over 20 methods,
    because it has one for each kind of event.
    """

    def __init__(
        self, queues: "Mapping[str, Queue]", workers: "Callable[[], Iterable[Worker]]"
    ) -> None:
        """Begin to count.

        Args:
            queues: The queues by their names. Other tasks than theirs are counted as `(other)`.
            workers: Returns the workers of this process.
        """
        self._queues = queues
        self._workers = workers
        self._lost: dict[str, set[str]] = {name: set() for name in queues}
        self.loop_lag = HistogramTally(
            "aiostreamq_loop_lag_seconds", "How late the event loop calls timers.", (), LAG_BOUNDS
        )
        self._counters = _counters()
        # By the class of an event: a match of a dozen cases takes longer than the counting.
        self._handlers: dict[type, Callable[[Any], None]] = {
            JobEnqueued: self._enqueued,
            JobDelivered: self._delivered,
            JobStarted: self._started,
            JobEnded: self._ended,
            JobRetried: self._retried,
            JobHandedBack: self._handed_back,
            JobParked: self._parked,
            OutcomeRefused: self._refused,
            JobsRecovered: self._recovered,
            ConnectionLost: self._lost_connection,
            ConnectionRegained: self._regained,
            LoopBlocked: self._blocked,
        }
        self._waits = HistogramTally(
            "aiostreamq_wait_duration_seconds", "How long jobs had waited in their lane.", _TASK
        )
        self._runs = HistogramTally(
            "aiostreamq_run_duration_seconds", "How long runs of jobs took.", _TASK
        )

    def __call__(self, event: "TelemetryEvent") -> None:
        """Count an event; events of a later release are not counted."""
        count = self._handlers.get(type(event))
        if count is not None:
            count(event)

    def _enqueued(self, event: JobEnqueued) -> None:
        self._add("enqueued_jobs", event.queue, self._task_of(event), event.lane)

    def _delivered(self, event: JobDelivered) -> None:
        self._add("deliveries", event.queue)
        if event.delivery > event.attempt:
            self._add("redeliveries", event.queue)

    def _started(self, event: JobStarted) -> None:
        self._add("started_runs", event.queue, self._task_of(event))

    def _ended(self, event: JobEnded) -> None:
        queue, task = event.queue, self._task_of(event)
        self._add("ended_jobs", queue, task, event.state.value)
        self._waits.observe(event.waited_seconds, queue, task)
        if event.ran_seconds > 0:
            self._runs.observe(event.ran_seconds, queue, task)

    def _retried(self, event: JobRetried) -> None:
        queue, task = event.queue, self._task_of(event)
        self._add("retries", queue, task)
        self._runs.observe(event.ran_seconds, queue, task)

    def _handed_back(self, event: JobHandedBack) -> None:
        self._add("handed_back_jobs", event.queue, self._task_of(event))

    def _parked(self, event: JobParked) -> None:
        self._add("parked_jobs", event.queue, self._task_of(event))

    def _refused(self, event: OutcomeRefused) -> None:
        self._add("refused_outcomes", event.queue)

    def _recovered(self, event: JobsRecovered) -> None:
        self._add("dead_workers", event.queue)
        self._add("recovered_jobs", event.queue, by=event.jobs)
        self._add("given_up_jobs", event.queue, by=event.given_up)

    def _lost_connection(self, event: ConnectionLost) -> None:
        # The name of a worker may follow, and there is no end of those.
        self._add("lost_connections", event.queue, event.connection.partition(":")[0])
        self._lost[event.queue].add(event.connection)

    def _regained(self, event: ConnectionRegained) -> None:
        self._lost[event.queue].discard(event.connection)

    def _blocked(self, event: LoopBlocked) -> None:
        self._add("loop_blocks", event.queue)

    def _add(self, counter: str, *labels: str, by: int = 1) -> None:
        self._counters[counter].add(*labels, by=by)

    def _task_of(
        self, event: JobEnqueued | JobStarted | JobEnded | JobRetried | JobHandedBack | JobParked
    ) -> str:
        return event.task if event.task in self._queues[event.queue].tasks else OTHER_TASKS

    def _begin(self) -> None:
        for queue in self._queues.values():
            for name in _OF_QUEUES:
                self._counters[name].begin(queue.name)
            for task in list(queue.tasks):
                self._counters["started_runs"].begin(queue.name, task)
                self._counters["retries"].begin(queue.name, task)
                for state in (JobState.DONE, JobState.FAILED):
                    self._counters["ended_jobs"].begin(queue.name, task, state.value)

    def describe(self) -> "Iterable[Metric]":
        """Yield all, so that a registry knows the names."""
        return self.collect()

    def collect(self) -> "Iterable[Metric]":
        """Yield all, as it is now."""
        self._begin()
        yield _build_info()
        for counter in self._counters.values():
            yield counter.family()
        yield self._waits.family()
        yield self._runs.family()
        yield self.loop_lag.family()
        yield self._down()
        yield from _worker_gauges(self._workers())

    def _down(self) -> "Metric":
        family = GaugeMetricFamily(
            "aiostreamq_connections_down",
            "Connections to Redis that are being retried now.",
            labels=_QUEUE,
        )
        for queue, lost in self._lost.items():
            family.add_metric((queue,), len(lost))
        return family


def _counters() -> dict[str, CounterTally]:
    """Return a counter for each kind of event, by its name."""
    described = {
        "enqueued_jobs": ("Jobs that this process has enqueued.", (*_TASK, "lane")),
        "deliveries": ("Jobs that a worker was sent.", _QUEUE),
        "redeliveries": ("Those that a worker had before, without a failed run.", _QUEUE),
        "started_runs": ("Runs of jobs that have started.", _TASK),
        "ended_jobs": ("Jobs that have ended for good.", (*_TASK, "state")),
        "retries": ("Runs that failed, and whose jobs will be run again.", _TASK),
        "handed_back_jobs": ("Runs cut short because the worker stops.", _TASK),
        "parked_jobs": ("Jobs put aside: their task is unknown or paused.", _TASK),
        "refused_outcomes": ("Ends that Redis refused: the job was with others.", _QUEUE),
        "dead_workers": ("Other workers that were found dead.", _QUEUE),
        "recovered_jobs": ("Jobs of dead workers, put back into the queue.", _QUEUE),
        "given_up_jobs": ("Jobs of dead workers, given up.", _QUEUE),
        "lost_connections": ("Connections to Redis that were lost.", (*_QUEUE, "connection")),
        "loop_blocks": ("Times that the event loop was blocked for long.", _QUEUE),
    }
    return {
        name: CounterTally(f"aiostreamq_{name}", documentation, labels)
        for name, (documentation, labels) in described.items()
    }


def _build_info() -> "Metric":
    family = GaugeMetricFamily("aiostreamq_build_info", "The release.", labels=("version",))
    family.add_metric((RELEASE,), 1)
    return family


def _worker_gauges(workers: "Iterable[Worker]") -> "Iterable[Metric]":
    slots, used, ready = (
        GaugeMetricFamily(f"aiostreamq_{name}", documentation, labels=_QUEUE)
        for name, documentation in (
            ("slots", "Jobs that the workers of this process may run at a time."),
            ("used_slots", "Jobs that they run now."),
            ("workers_ready", "Workers of this process that take jobs."),
        )
    )
    for name, found in _by_queue(workers).items():
        slots.add_metric((name,), sum(one.concurrency for one in found))
        used.add_metric((name,), sum(one.running for one in found))
        ready.add_metric((name,), sum(one.is_ready for one in found))
    return slots, used, ready


def _by_queue(workers: "Iterable[Worker]") -> "dict[str, list[Worker]]":
    found: dict[str, list[Worker]] = {}
    for worker in workers:
        found.setdefault(worker.queue.name, []).append(worker)
    return found
