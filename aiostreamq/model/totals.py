"""Totals of ended jobs since a queue began: counters that never fall, as monitoring needs them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from aiostreamq.model.job_state import JobState
from aiostreamq.model.record import record
from aiostreamq.model.stats import BOUNDS, UNKNOWN, WAIT

# Seconds. Every fourth bound of the minutes: the scripts count by these.
TOTAL_BOUNDS = BOUNDS[::4]

#: The task under which the ends of further tasks are counted if there are too many.
OTHER_TASKS = "(other)"


@record
class TimeHistogram:
    """How long jobs took, as numbers of jobs between bounds."""

    bounds: tuple[float, ...]  #: seconds, in order
    #: for each bound the jobs below it that are not below the one before, then those above all
    counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many jobs were measured."""
        return sum(self.counts)

    @property
    def estimated_sum(self) -> float:
        """About how many seconds all of them took, by the middles of the buckets."""
        edges = (self.bounds[0] / 2, *self.bounds, self.bounds[-1])
        middles = [(low * high) ** 0.5 for low, high in pairwise(edges)]
        return sum(n * middle for n, middle in zip(self.counts, middles, strict=True))


@record
class TaskTotals:
    """The jobs of one task that have ended since the queue began."""

    name: str  #: "(other)" for further tasks if there are too many; empty if it is unknown
    ended: Mapping[JobState, int]  #: how many, by how they ended
    ran: TimeHistogram  #: how long they ran, if they did
    waited: TimeHistogram  #: how long they had waited in their lane, if they ran


def read_totals(fields: Mapping[bytes, bytes]) -> tuple[TaskTotals, ...]:
    """Return the totals of each task, by name; unreadable counters are omitted."""
    tasks: defaultdict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for field, value in fields.items():
        parts = field.decode(errors="replace").split("|")
        if len(parts) == 3 and value.isdigit():
            tasks[parts[0]].append((parts[1], parts[2], int(value)))
    return tuple(_totals(task, tasks[task]) for task in sorted(tasks))


def _totals(task: str, counters: Iterable[tuple[str, str, int]]) -> TaskTotals:
    ended: dict[JobState, int] = {}
    ran, waited = [[0] * (len(TOTAL_BOUNDS) + 1) for _ in range(2)]
    for state, bucket, count in counters:
        if state != WAIT:
            if state not in _STATES:
                continue
            ended[_STATES[state]] = ended.get(_STATES[state], 0) + count
        if bucket != UNKNOWN and bucket.isdigit() and int(bucket) <= len(TOTAL_BOUNDS):
            (waited if state == WAIT else ran)[int(bucket)] += count
    histograms = [TimeHistogram(TOTAL_BOUNDS, tuple(counts)) for counts in (ran, waited)]
    return TaskTotals(task, ended, *histograms)


_STATES = {state.value: state for state in JobState}
