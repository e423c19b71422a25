"""Statistics of ended jobs: what a batch of settlements adds, and how they are read.

There are two kinds. The hash `stats:<minute>` counts how many jobs of a task ended in a state, by
how long they ran (`size|done|7`) and how long they had waited (`size|wait|3`); the last part is a
bucket, see BOUNDS, or UNKNOWN. The stream `recent` has one entry per batch with the jobs: `kinds`
holds the fields and counts that were added to the hash, `codes` has for each job the index of its
kind among them, as two hexadecimal digits, and `ids` lists the jobs.

Counting costs a fraction of a microsecond per job, here and in Redis.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import NamedTuple

from aiostreamq.model.delivery import Settlement
from aiostreamq.model.job_state import JobState

# Seconds. Shorter times are in bucket 0, then two buckets cover each doubling, up to more than a
# day: fine enough for a percentile, and so few that a batch falls into a handful.
BOUNDS = tuple(0.00025 * 2 ** (place / 2) for place in range(58))
SHORTEST = BOUNDS[0]

# Characters of ids that one entry may hold, about 350 generated ids: ids that users choose can be
# long, and the stream should stay below about 16 MB.
RECENT_IDS = 8192

# How long the counters of a minute are kept; the scripts set the expiry.
STATS_MINUTES = 180

WAIT = "wait"

# In place of the bucket if a job never ran, or if it is unknown how long it ran.
UNKNOWN = "-"

_CODES = tuple(f"{place:02x}" for place in range(256))
_KIND = itemgetter(4)


class Tally(NamedTuple):
    """The counts of one batch, in the order of the record_stats script's arguments."""

    kinds: str = ""  #: "<task>|<state>|<bucket> <count>", separated by spaces; empty is none
    codes: str = ""  #: the kind of each job, two hexadecimal digits
    ids: str = ""  #: ids of the jobs, separated by spaces; may be incomplete
    waits: str = ""  #: like kinds, for the time before they ran


class Kinds(dict[str, tuple[str, ...]]):
    """Cached kinds of jobs that returned: for each task one kind per bucket."""

    def __missing__(self, task: str) -> tuple[str, ...]:
        """Create the kinds of a task."""
        kinds = tuple(f"{task}|{JobState.DONE.value}|{at}" for at in range(len(BOUNDS) + 1))
        self[task] = kinds
        return kinds


def kind_of(task: str, state: JobState, ran: float | None) -> str:
    """Return the kind of a job that ended after *ran* seconds; None if it never ran."""
    return f"{task}|{state.value}|{UNKNOWN if ran is None else bisect(BOUNDS, ran)}"


def tally_of(batch: Sequence[Settlement], now_ms: float, now: float) -> Tally:
    """Count how the jobs of a batch ended.

    The waiting time of the first job of each task counts for all its jobs in the batch: jobs that
    were read together have waited about equally long.

    Args:
        batch: The settlements.
        now_ms: Milliseconds since 1970, by Redis's clock.
        now: The same moment by the monotonic clock, as in `Settlement.began`.
    """
    if not batch:
        return Tally()
    kinds = [*map(_KIND, batch)]
    ids = " ".join([ended.delivery.job_id for ended in batch])
    if len(ids) > RECENT_IDS:
        ids = ids[: ids.rfind(" ", 0, RECENT_IDS + 1)]
    if kinds.count(kinds[0]) == len(kinds):  # the usual case, and much cheaper
        counts, codes = {kinds[0]: len(kinds)}, "00" * len(kinds)
    else:
        counts = Counter(kinds)
        code_of = dict(zip(counts, _CODES, strict=False))
        codes = "".join([code_of[kind] for kind in kinds])
    if "" in counts:
        return Tally()  # the caller does not want these counted
    written = " ".join([f"{kind} {count}" for kind, count in counts.items()])
    return Tally(written, codes, ids, _waits(batch, kinds, counts, now_ms / 1000 - now))


def _waits(
    batch: Sequence[Settlement], kinds: Sequence[str], counts: Mapping[str, int], ahead: float
) -> str:
    # *ahead* is by how many seconds Redis's clock is ahead of the monotonic clock.
    of_task = Counter[str]()
    first: dict[str, Settlement] = {}
    for kind, count in counts.items():
        task = kind.partition("|")[0]
        if task not in first:
            first[task] = batch[kinds.index(kind)]
        of_task[task] += count
    return " ".join([f"{t}|{WAIT}|{_waited(first[t], ahead)} {n}" for t, n in of_task.items()])


def _waited(settlement: Settlement, ahead: float) -> int:
    """Return the bucket of the time between the entry's enqueue and the run."""
    added_ms = int(settlement.delivery.entry.partition(b"-")[0])
    return bisect(BOUNDS, settlement.began + ahead - added_ms / 1000)


class Ended(NamedTuple):
    """A job that has ended, from the stream `recent`."""

    id: str
    task: str
    state: JobState
    ran: float | None  #: seconds, approximately; None if unknown


def read_recent(fields: Mapping[bytes, bytes]) -> list[Ended]:
    """Return the jobs of one entry of `recent`, the last one first; unreadable ones are omitted."""
    kinds = fields.get(b"kinds", b"").decode(errors="replace").split(" ")[::2]
    codes = fields.get(b"codes", b"").decode(errors="replace")
    ids = fields.get(b"ids", b"").decode(errors="replace").split(" ")
    ended: list[Ended] = []
    for place, job_id in enumerate(ids):
        try:
            task, state, bucket = kinds[int(codes[2 * place : 2 * place + 2], 16)].split("|")
            ran = None if bucket == UNKNOWN else middle_of(int(bucket))
            ended.append(Ended(job_id, task, JobState(state), ran))
        except (ValueError, IndexError):
            continue
    ended.reverse()
    return ended


class Ends:
    """The counters of a task, summed over some minutes. Tasks with the same counters share one."""

    __slots__ = ("ran", "states", "total", "waited")

    def __init__(self) -> None:
        self.states: dict[JobState, int] = {}  #: ended jobs by state
        self.ran: dict[int, int] = {}  #: ended jobs by bucket of the run time
        self.waited: dict[int, int] = {}  #: ended jobs by bucket of the waiting time
        self.total = 0  #: how many jobs have ended

    def add(self, kind: "_Kind", count: int) -> None:
        """Add one counter."""
        state, bucket = kind
        if state is not None:
            self.states[state] = self.states.get(state, 0) + count
            self.total += count
        if bucket is not None:
            buckets = self.waited if state is None else self.ran
            buckets[bucket] = buckets.get(bucket, 0) + count


#: A state, or None for a waiting time; and a bucket, or None if the time is unknown.
_Kind = tuple[JobState | None, int | None]

_UNREADABLE: _Kind = (None, None)


class _Kinds(dict[bytes, _Kind]):
    """Cached kinds by their texts, as in the fields after the task. All tasks have the same few."""

    def __missing__(self, text: bytes) -> _Kind:
        self[text] = _UNREADABLE
        with suppress(ValueError):
            state, place = text.decode().split("|")
            if state == WAIT:
                self[text] = (None, int(place))
            else:
                self[text] = (JobState(state), None if place == UNKNOWN else int(place))
        return self[text]


class _SharedEnds(dict[frozenset[tuple[bytes, int]], Ends]):
    """Ends by their counters. Many of ten thousand tasks have the same."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds = _Kinds()

    def __missing__(self, counters: frozenset[tuple[bytes, int]]) -> Ends:
        ends = self[counters] = Ends()
        for text, count in counters:
            ends.add(self._kinds[text], count)
        return ends


class _Numbers(dict[bytes, int]):
    """Cached numbers by their texts; 0 for a text that is not a number."""

    def __missing__(self, text: bytes) -> int:
        self[text] = int(text) if text.isdigit() else 0
        return self[text]


def read_stats(minutes: Iterable[Iterable[tuple[bytes, bytes]]]) -> dict[str, Ends]:
    """Sum the counters of *minutes* by task; unreadable ones are omitted.

    Args:
        minutes: The fields of the hash of each minute, and their values.
    """
    tasks: defaultdict[bytes, dict[bytes, int]] = defaultdict(dict)
    numbers = _Numbers()
    for fields in minutes:
        for name, value in fields:
            task, _, kind = name.partition(b"|")
            counters = tasks[task]
            counters[kind] = counters.get(kind, 0) + numbers[value]
    ends = _SharedEnds()
    return {
        task.decode(errors="replace"): ends[frozenset(counters.items())]
        for task, counters in tasks.items()
    }


def middle_of(bucket: int) -> float:
    """Return the seconds in the middle of a bucket."""
    if bucket <= 0:
        return SHORTEST / 2
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    return (BOUNDS[bucket - 1] * BOUNDS[bucket]) ** 0.5


def percentiles(buckets: Sequence[tuple[int, int]], shares: Iterable[float]) -> list[float]:
    """Return the approximate seconds that each of *shares* (0 to 1) of the jobs did not exceed.

    Args:
        buckets: Buckets and how many jobs are in each, in order. Not empty.
        shares: The least first.
    """
    total = sum([count for _, count in buckets])
    rest = iter(buckets)
    seconds: list[float] = []
    bucket, seen = next(rest)
    for share in shares:
        while seen < share * total:
            bucket, count = next(rest)
            seen += count
        seconds.append(middle_of(bucket))
    return seconds
