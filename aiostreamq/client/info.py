"""The state of a queue and of its workers: its info, its history, its totals, its workers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.info import (
    LaneInfo,
    Latency,
    MinuteInfo,
    QueueInfo,
    TaskInfo,
    WorkerInfo,
    parse_worker,
)
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import ADMITTED, OVERFLOW
from aiostreamq.model.pauses import among, pauses_of
from aiostreamq.model.stats import STATS_MINUTES, Ends, percentiles, read_stats
from aiostreamq.model.time import moment
from aiostreamq.model.totals import TaskTotals, read_totals
from aiostreamq.store.inspect.snapshot import Snapshots, totals_of

if TYPE_CHECKING:
    from aiostreamq.client.task_argument import Named
    from aiostreamq.store.inspect.views import LaneView, View
    from aiostreamq.store.queue import QueueStore

_MINUTE_MS = 60_000


async def look(store: "QueueStore", window: Duration) -> QueueInfo:
    """Return the state of a queue; see `QueueClient.info`."""
    span = _checked_window(window)
    snapshots = Snapshots(store)
    view = await snapshots.view()
    # Whole minutes: from the one in which the window begins up to the current one.
    first = (view.now_ms - int(span * 1000)) // _MINUTE_MS
    minutes = range(first, view.now_ms // _MINUTE_MS + 1)
    ends = read_stats(await snapshots.stats(minutes))
    counted = (view.now_ms - first * _MINUTE_MS) / 1000
    others = (*OVERFLOW.values(), ADMITTED)
    lanes = tuple(
        _lane(lane, view.now_ms, view.held.by_lane.get(lane.name, 0))
        for lane in view.lanes
        if lane.waiting or lane.running or lane.name not in others
    )
    return QueueInfo(
        name=store.keys.queue,
        at=moment(view.now_ms),
        waiting=sum(lane.waiting for lane in lanes),
        running=sum(lane.running for lane in lanes),
        delayed=view.delayed,
        parked=sum(view.parked_tasks.values()),
        dead=view.dead,
        oldest_age=max(
            (lane.oldest_age for lane in lanes if lane.oldest_age is not None), default=None
        ),
        next_due=None if view.due_ms < 0 else moment(view.due_ms),
        paused=tuple(pauses_of(await snapshots.paused())),
        window=counted,
        rate=sum(one.total for one in ends.values()) / counted,
        lanes=lanes,
        tasks=tuple(_tasks(view, ends, counted)),
        held=view.held.total,
        admittable=view.held.admittable,
    )


async def look_back(
    store: "QueueStore", window: Duration, task: "Named | str | None"
) -> list[MinuteInfo]:
    """Return the ended jobs of each minute; see `QueueViews.history`."""
    span = _checked_window(window)
    name = None if task is None else name_of(task)
    snapshots = Snapshots(store)
    now_ms = await snapshots.now_ms()
    first = (now_ms - int(span * 1000)) // _MINUTE_MS
    minutes = range(first, now_ms // _MINUTE_MS + 1)
    found = await snapshots.stats(minutes)
    return [_minute(at, fields, name) for at, fields in zip(minutes, found, strict=True)]


def _checked_window(window: Duration) -> float:
    span = seconds("window", window)
    if not 1 <= span <= (STATS_MINUTES - 1) * 60:
        raise UsageError(f"window={window!r}: use 1 second to {STATS_MINUTES - 1} minutes")
    return span


def _minute(at: int, fields: Iterable[tuple[bytes, bytes]], task: str | None) -> MinuteInfo:
    states, ran, waited = Counter[JobState](), Counter[int](), Counter[int]()
    for name, ends in read_stats([fields]).items():
        if task is None or name == task:
            states.update(ends.states)
            ran.update(ends.ran)
            waited.update(ends.waited)
    return MinuteInfo(moment(at * _MINUTE_MS), dict(states), _latency(ran), _latency(waited))


def _lane(lane: "LaneView", now_ms: int, held: int) -> LaneInfo:
    oldest = None
    if lane.oldest:
        oldest = max(0.0, (now_ms - int(lane.oldest.partition("-")[0])) / 1000)
    return LaneInfo(lane.name, lane.waiting, lane.running, oldest, held)


def _tasks(view: "View", ends: Mapping[str, Ends], counted: float) -> Iterable[TaskInfo]:
    waiting = _Estimate((lane.waiting, lane.waiting_tasks) for lane in view.lanes)
    running = _Estimate((lane.running, lane.running_tasks) for lane in view.lanes)
    delayed = _Estimate([(view.delayed, view.delayed_tasks)])
    dead = _Estimate([(view.dead, view.dead_tasks)])
    admittable = view.held.admittable
    held = _Estimate(
        [
            (admittable, view.held.ready_tasks),
            (view.held.total - admittable, view.held.blocked_tasks),
        ]
    )
    all_counts = (waiting, running, delayed, dead, held)
    is_estimate = any(one.is_estimate for one in all_counts)
    named = set[str](view.parked_tasks).union(ends, *(one.counts for one in all_counts))
    none, summaries = Ends(), _Summaries()
    for name in sorted(named - {""}):
        end = ends.get(name, none)
        run_latency, wait_latency = summaries[end]
        yield TaskInfo(
            name,
            waiting.of(name),
            running.of(name),
            delayed.of(name),
            view.parked_tasks.get(name, 0),
            dead.of(name),
            is_estimate,
            dict(end.states),
            end.total / counted,
            run_latency,
            wait_latency,
            held.of(name),
        )


class _Summaries(dict[Ends, tuple[Latency | None, Latency | None]]):
    """How long jobs ran and had waited. A queue may have ten thousand tasks, many with the same."""

    def __missing__(self, ends: Ends) -> tuple[Latency | None, Latency | None]:
        latencies = self[ends] = _latency(ends.ran), _latency(ends.waited)
        return latencies


class _Estimate:
    """The number of jobs of each task, estimated from samples."""

    def __init__(self, samples: Iterable[tuple[int, Mapping[str, int]]]) -> None:
        self.counts: Counter[str] = Counter()
        self.is_estimate = False
        for whole, sample in samples:
            seen = sum(sample.values())
            self.is_estimate |= whole > seen
            for name, count in sample.items():
                self.counts[name] += count * whole / seen  # pyright: ignore[reportArgumentType]  # parts of jobs, until they are rounded

    def of(self, name: str) -> int:
        """Return how many jobs of a task there probably are."""
        return round(self.counts[name]) if name in self.counts else 0


def _latency(buckets: Mapping[int, int]) -> Latency | None:
    if not buckets:
        return None
    p50, p95, p99 = percentiles(sorted(buckets.items()), (0.5, 0.95, 0.99))
    return Latency(sum(buckets.values()), p50, p95, p99)


async def look_at_totals(store: "QueueStore") -> tuple[TaskTotals, ...]:
    """Return what has ended since the queue began; see `ExtensibleQueue.totals`."""
    return read_totals(await totals_of(store))


async def look_at_workers(store: "QueueStore") -> list[WorkerInfo]:
    """Return the workers of a queue; see `QueueClient.workers`."""
    snapshots = Snapshots(store)
    now_ms = await snapshots.now_ms()
    registered = await snapshots.workers()
    paused = await snapshots.paused()
    workers = [parse_worker(name, beat, about, now_ms) for name, beat, about in registered]
    return [_with_pauses(one, paused) for one in sorted(workers, key=lambda one: one.name)]


def _with_pauses(worker: WorkerInfo, paused: Mapping[str, int]) -> WorkerInfo:
    found = pauses_of(among(paused, worker.tasks, worker.lanes))
    return replace(worker, paused=tuple(found)) if found else worker
