"""How jobs ended, added up: what `settle` is told of a batch, and how that is read again.

Two things are kept. `stats:<minute>` counts, in a hash, how many jobs of a task
ended in a state, by how long they ran (`size|done|7`) and how long they had waited
(`size|wait|3`); the last part is a bucket, see BOUNDS, or UNKNOWN. `recent` has one
stream entry a batch that says which jobs those were: `kinds` is fields and counts as they
went into the hash, `codes` has for each job the place of its kind among them, two
hexadecimal digits, and `ids` are the jobs.

Adding up costs each job a fraction of a microsecond, here and in Redis.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from aiostreamq.model.delivery import Settlement
from aiostreamq.model.outcome import JobState

# Seconds. What is shorter is in bucket 0, and then there are two to each doubling, up to more
# than a day: fine enough for a percentile, and few enough that a batch falls into a handful.
BOUNDS = tuple(0.00025 * 2 ** (place / 2) for place in range(58))
SHORTEST = BOUNDS[0]

# Characters of ids that one entry may hold, some 350 of our own: what others chose can
# be long, and the whole shall stay below some 16 MB.
RECENT_IDS = 8192

# How long the counters of a minute are kept: ends.lua sees to that.
STATS_MINUTES = 180

WAIT = "wait"

# In place of the bucket of a job that never ran, or of which nobody can tell how long it did.
UNKNOWN = "-"

_CODES = tuple(f"{place:02x}" for place in range(256))
_KIND = itemgetter(4)


class Tally(NamedTuple):
    """What ended in one batch, in the order of the count script's arguments."""

    kinds: str = ""  #: "<task>|<state>|<bucket> <count>", with spaces between; empty for nothing
    codes: str = ""  #: the kind of each job, two hexadecimal digits
    ids: str = ""  #: the jobs, with spaces between; maybe not all
    waits: str = ""  #: as kinds, for the time before they ran


class Kinds(dict[str, tuple[str, ...]]):
    """As what jobs that returned are counted: by task, one for each bucket, made once."""

    def __missing__(self, task: str) -> tuple[str, ...]:
        """Make those of a task."""
        kinds = tuple(f"{task}|{JobState.DONE.value}|{at}" for at in range(len(BOUNDS) + 1))
        self[task] = kinds
        return kinds


def kind_of(task: str, state: JobState, ran: float | None) -> str:
    """As what a job is counted that has ended after *ran* seconds; None where it never ran."""
    return f"{task}|{state.value}|{UNKNOWN if ran is None else bisect(BOUNDS, ran)}"


def tally_of(batch: Sequence[Settlement], now_ms: float, now: float) -> Tally:
    """Add up how jobs ended.

    Of the jobs of one task that ended together, only the first is asked how long it had
    waited: those that were read together have waited about alike.

    Args:
        batch: Their ends.
        now_ms: Milliseconds since 1970, by Redis's clock.
        now: The same moment by the monotonic clock, which they began by.
    """
    if not batch:
        return Tally()
    kinds = [*map(_KIND, batch)]
    ids = " ".join([ended.delivery.job_id for ended in batch])
    if len(ids) > RECENT_IDS:
        ids = ids[: ids.rfind(" ", 0, RECENT_IDS + 1)]
    if kinds.count(kinds[0]) == len(kinds):  # as usual, and a good deal cheaper
        counts, codes = {kinds[0]: len(kinds)}, "00" * len(kinds)
    else:
        counts = Counter(kinds)
        code_of = dict(zip(counts, _CODES, strict=False))
        codes = "".join([code_of[kind] for kind in kinds])
    if "" in counts:
        return Tally()  # whoever settles these does not want them counted
    told = " ".join([f"{kind} {count}" for kind, count in counts.items()])
    return Tally(told, codes, ids, _waits(batch, kinds, counts, now_ms / 1000 - now))


def _waits(
    batch: Sequence[Settlement], kinds: Sequence[str], counts: Mapping[str, int], ahead: float
) -> str:
    # *ahead* is by how many seconds Redis's clock is ahead of that by which they began.
    of_task = Counter[str]()
    first: dict[str, Settlement] = {}
    for kind, count in counts.items():
        task = kind.partition("|")[0]
        if task not in first:
            first[task] = batch[kinds.index(kind)]
        of_task[task] += count
    return " ".join([f"{t}|{WAIT}|{_waited(first[t], ahead)} {n}" for t, n in of_task.items()])


def _waited(settlement: Settlement, ahead: float) -> int:
    """The bucket of the time from when the entry was added until the run began."""
    added_ms = int(settlement.delivery.entry.partition(b"-")[0])
    return bisect(BOUNDS, settlement.began + ahead - added_ms / 1000)


class Ended(NamedTuple):
    """A job as `recent` tells of it."""

    id: str
    task: str
    state: JobState
    ran: float | None  #: seconds, about; None where that is not known


def read_recent(fields: Mapping[bytes, bytes]) -> list[Ended]:
    """The jobs of one entry of `recent`, last one first; what cannot be read is left out."""
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
    """What ended of one task, out of the counters of some minutes."""

    def __init__(self) -> None:
        self.states = Counter[JobState]()  #: how many ended how
        self.ran = Counter[int]()  #: how many ran how long, by bucket
        self.waited = Counter[int]()  #: how many had waited how long, by bucket


def read_stats(minutes: Iterable[Mapping[str, str]]) -> dict[str, Ends]:
    """Add up the counters of *minutes* by task; what cannot be read is left out."""
    tasks: dict[str, Ends] = defaultdict(Ends)
    for fields in minutes:
        for name, told in fields.items():
            try:
                task, state, place = name.split("|")
                bucket, count = None if place == UNKNOWN else int(place), int(told)
                if state != WAIT:
                    tasks[task].states[JobState(state)] += count
                if bucket is not None:
                    ends = tasks[task]
                    (ends.waited if state == WAIT else ends.ran)[bucket] += count
            except ValueError:
                continue
    return dict(tasks)


def middle_of(bucket: int) -> float:
    """The seconds that a bucket stands for."""
    if bucket <= 0:
        return SHORTEST / 2
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    return (BOUNDS[bucket - 1] * BOUNDS[bucket]) ** 0.5


def percentile(buckets: Mapping[int, int], share: float) -> float:
    """The seconds that *share* (0 to 1) of what was counted did not take longer than, about.

    Raises:
        ValueError: Nothing was counted.
    """
    left = share * sum(buckets.values())
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return middle_of(bucket)
    raise ValueError("nothing was counted")
