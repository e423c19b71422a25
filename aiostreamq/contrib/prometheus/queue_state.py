"""The metrics of a queue: its state in Redis, the same in every process."""

import asyncio
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.contrib.prometheus.tallies import add_histogram
from aiostreamq.logs import get_logger
from aiostreamq.model.job_state import JobState
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.core import Metric

    from aiostreamq.model.info import LaneInfo, QueueInfo, WorkerInfo
    from aiostreamq.model.totals import TaskTotals
    from aiostreamq.queue import Queue

logger = get_logger("aiostreamq.metrics")

# Seconds that the state of a queue serves all scrapes: however many there are, Redis is asked once.
KEPT = 5.0

# Seconds that reading it may take. A scrape must not wait for a Redis that is away.
PATIENCE = 2.0


# The counts of a task before any of its jobs has ended.
_AT_FIRST = {JobState.DONE: 0, JobState.FAILED: 0}


@record
class QueueState:
    """The state of one queue at one moment."""

    name: str
    info: "QueueInfo"
    totals: "tuple[TaskTotals, ...]"
    workers: "list[WorkerInfo]"


class StateReader:
    """Reads the state of one queue, at most once in KEPT seconds."""

    def __init__(self, queue: "Queue") -> None:
        self.queue = queue
        self._state: QueueState | None = None
        self._read_at = -inf
        self._reading: OwnTask[None] | None = None
        self._has_complained = False

    async def read(self) -> QueueState | None:
        """Return the state, or None if Redis does not answer. Cancelling is safe."""
        if clock.monotonic() - self._read_at < KEPT:
            return self._state
        reading = self._reading
        if reading is None or reading.done() or reading.get_loop() is not _running():
            # A task of its own: all scrapes wait for it, and each may be cancelled.
            reading = self._reading = spawn(self._read(), "aiostreamq:metrics")
        await asyncio.wait({reading})
        return self._state

    async def _read(self) -> None:
        queue = self.queue
        try:
            async with asyncio.timeout(PATIENCE):
                self._state = QueueState(
                    queue.name,
                    await queue.info(window=1),
                    await queue.totals(),
                    await queue.workers(),
                )
                self._has_complained = False
        except Exception as error:  # noqa: BLE001  # a scrape gets the rest
            self._state = None
            if not self._has_complained:
                logger.warning("the state of queue %r could not be read: %r", queue.name, error)
            self._has_complained = True
        finally:
            self._read_at = clock.monotonic()


def _running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def families(names: "Iterable[str]", states: "Sequence[QueueState]") -> "Iterable[Metric]":
    """Yield the metrics of some queues.

    Args:
        names: The names of all queues.
        states: The states that could be read.
    """
    up = _gauge("up", "Whether the state of the queue could be read from Redis.")
    known = {state.name for state in states}
    for name in names:
        up.add_metric((name,), name in known)
    yield up
    yield _jobs(states)
    yield _oldest_ages(states)
    yield from _numbers(states)
    yield _workers(states)
    yield from _totals(states)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"aiostreamq_queue_{name}", documentation, labels=("queue", *labels))


def _jobs(states: "Iterable[QueueState]") -> GaugeMetricFamily:
    text = "Jobs that have not ended; delayed and parked ones have no lane."
    jobs = _gauge("jobs", text, "lane", "state")
    for one in states:
        for lane in one.info.lanes:
            jobs.add_metric((one.name, lane.name, "waiting"), lane.waiting)
            jobs.add_metric((one.name, lane.name, "running"), lane.running)
        jobs.add_metric((one.name, "", "delayed"), one.info.delayed)
        jobs.add_metric((one.name, "", "parked"), one.info.parked)
    return jobs


def _oldest_ages(states: "Iterable[QueueState]") -> GaugeMetricFamily:
    ages = _gauge("oldest_age_seconds", "How long the oldest job has waited; 0 if none.", "lane")
    for one in states:
        for lane in one.info.lanes:
            ages.add_metric((one.name, lane.name), _age(lane))
    return ages


def _age(lane: "LaneInfo") -> float:
    return 0.0 if lane.oldest_age is None else lane.oldest_age


def _numbers(states: "Iterable[QueueState]") -> "Iterable[Metric]":
    dead = _gauge("dead_letters", "Dead letters.")
    pauses = _gauge("pauses", "Paused tasks and lanes.")
    slots = _gauge("slots", "Jobs that all workers may run at a time.")
    used = _gauge("used_slots", "Jobs that they run, as of their last heartbeats.")
    for one in states:
        alive = [worker for worker in one.workers if not worker.is_lost]
        for family, value in (
            (dead, one.info.dead),
            (pauses, len(one.info.paused)),
            (slots, sum(worker.concurrency for worker in alive)),
            (used, sum(worker.running for worker in alive)),
        ):
            family.add_metric((one.name,), value)
    return dead, pauses, slots, used


def _workers(states: "Iterable[QueueState]") -> GaugeMetricFamily:
    family = _gauge("workers", "Workers by their state; lost ones are being replaced.", "state")
    for one in states:
        for state, count in Counter(map(_state_of, one.workers)).items():
            family.add_metric((one.name, state), count)
    return family


def _state_of(worker: "WorkerInfo") -> str:
    if worker.is_lost:
        return "lost"
    return "unknown" if worker.state is None else worker.state.value


def _totals(states: "Iterable[QueueState]") -> "Iterable[Metric]":
    ended = CounterMetricFamily(
        "aiostreamq_queue_ended_jobs",
        "Jobs that have ended since the queue began.",
        labels=("queue", "task", "state"),
    )
    ran, waited = (
        HistogramMetricFamily(f"aiostreamq_queue_{name}", text, labels=("queue", "task"))
        for name, text in (
            ("run_duration_seconds", "How long they ran; the sum is an estimate."),
            ("wait_duration_seconds", "How long they had waited; the sum is an estimate."),
        )
    )
    for one in states:
        for task in one.totals:
            labels = one.name, task.name
            # Known from the start, so that the first failure is an increase.
            for state, count in {**_AT_FIRST, **task.ended}.items():
                ended.add_metric((*labels, state.value), count)
            for family, times in ((ran, task.ran), (waited, task.waited)):
                if times.count:
                    add_histogram(family, labels, times.bounds, times.counts, times.estimated_sum)
    return ended, ran, waited
