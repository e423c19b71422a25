"""Limits of a worker process: how much it may do before another takes its place."""

import os
import random
import re
import resource
from pathlib import Path

from aiostreamq.errors import UsageError
from aiostreamq.model.english import counted
from aiostreamq.model.record import record

# Processes that started together with the same limit would be replaced together. A random part
# of the limit, up to this, is added for each.
SPREAD = 0.1

_BYTES = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:(b)|([kmg])(?:i?b)?)\s*", re.IGNORECASE)


@record
class RecyclingLimits:
    """How many jobs a worker process may run, and how much memory it may take.

    >>> RecyclingLimits(max_jobs=100, max_rss=None).reason_to_end(finished=104, rss=0)
    'it has run 104 jobs'
    """

    max_jobs: int | None  #: None: no limit
    max_rss: int | None  #: bytes; None: no limit

    def reason_to_end(self, finished: int, rss: int) -> str | None:
        """Return which limit has been passed, as a clause, or None."""
        if self.max_jobs is not None and finished >= self.max_jobs:
            return f"it has run {counted(finished, 'job')}"
        if self.max_rss is not None and rss > self.max_rss:
            return f"it takes {megabytes(rss)} of memory"
        return None

    def spread(self, draw: float) -> "RecyclingLimits":
        """Return these limits with more jobs, by up to SPREAD; *draw* is a number in [0, 1]."""
        if self.max_jobs is None:
            return self
        return RecyclingLimits(int(self.max_jobs * (1 + SPREAD * draw)), self.max_rss)


def own_limits(limits: RecyclingLimits) -> RecyclingLimits:
    """Return *limits* with the spread of this process.

    Raises:
        UsageError: The process has passed the limit of memory before its first job.
    """
    rss = resident_bytes()
    if limits.max_rss is not None and rss > limits.max_rss:
        raise UsageError(
            f"--max-rss is too low: a worker takes {megabytes(rss)} before its first job; "
            f"give more than that"
        )
    return limits.spread(random.random())


def size(option: str, written: str) -> int:
    """Return the bytes of a size such as 512mb; *option* names it in the error.

    >>> size("--max-rss", "512mb")
    536870912
    """
    found = _SIZE.fullmatch(written)
    if found is None:
        raise UsageError(
            f"{option} {written!r}: invalid size; give a number with a unit, as in 512mb or 1.5gb"
        )
    return int(float(found[1]) * _BYTES[(found[2] or found[3]).lower()])


def megabytes(count: int) -> str:
    """Return *count* bytes in MB, for people."""
    return f"{count / 1024**2:.0f} MB"


def resident_bytes() -> int:
    """Return the bytes of memory that this process takes now."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        # Not Linux: the most that it ever took. macOS counts it in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")
