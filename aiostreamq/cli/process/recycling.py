"""How much a worker process may do before another takes its place."""

import os
import random
import re
import resource
from dataclasses import dataclass
from pathlib import Path

from aiostreamq.errors import UsageError
from aiostreamq.model.grammar import counted

# Processes that started together with the same limit would be replaced together.
# Each takes up to so much more of it.
SPREAD = 0.1

_BYTES = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:(b)|([kmg])(?:i?b)?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RecyclingLimits:
    """What a worker process may come to; None is no limit.

    >>> RecyclingLimits(max_jobs=100, max_rss=None).reason_to_end(finished=104, rss=0)
    'it has run 104 jobs'
    """

    max_jobs: int | None
    max_rss: int | None  #: bytes

    def reason_to_end(self, finished: int, rss: int) -> str | None:
        """Say which limit has been passed, None for none."""
        if self.max_jobs is not None and finished >= self.max_jobs:
            return f"it has run {counted(finished, 'job')}"
        if self.max_rss is not None and rss > self.max_rss:
            return f"it takes {megabytes(rss)} of memory"
        return None

    def spread(self, draw: float) -> "RecyclingLimits":
        """Return these limits, the jobs raised by what *draw* in [0, 1] says."""
        if self.max_jobs is None:
            return self
        return RecyclingLimits(int(self.max_jobs * (1 + SPREAD * draw)), self.max_rss)


def own_limits(limits: RecyclingLimits) -> RecyclingLimits:
    """Return *limits* as they hold for this process.

    Raises:
        UsageError: The process has passed them before its first job.
    """
    rss = resident_bytes()
    if limits.max_rss is not None and rss > limits.max_rss:
        raise UsageError(
            f"--max-rss: a worker takes {megabytes(rss)} before its first job: "
            f"it needs more than that"
        )
    return limits.spread(random.random())


def size(option: str, written: str) -> int:
    """Return the bytes of a size as people write it; *option* names it in the error.

    >>> size("--max-rss", "512mb")
    536870912
    """
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise UsageError(f"{option} {written!r} is no size: write it as in 512mb or 1.5gb")
    return int(float(found[1]) * _BYTES[(found[2] or found[3]).lower()])


def megabytes(count: int) -> str:
    """Write *count* bytes for people."""
    return f"{count / 1024**2:.0f} MB"


def resident_bytes() -> int:
    """Return how much memory this process takes now."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        # Not Linux: the most that it ever took, which macOS counts in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")
