"""How much a worker reads: what will soon run, and no more.

A job that waits in a worker's memory can not be run by an idle one, so slow
jobs are never hoarded; but jobs of a few microseconds must be at hand by the
hundred, or the worker spends its time asking.
"""

from dataclasses import dataclass

# Seconds of work that may wait in memory: several round trips to Redis, also to one that is far.
# For so long a job of a weightier lane can find those before it that were read already.
AHEAD = 0.025

# How far one look at the pace moves the estimate.
WEIGHT = 0.5


@dataclass(slots=True)
class Throughput:
    """How many jobs a second this worker has lately finished."""

    rate: float = 0.0
    _finished: int = 0
    _at: float = 0.0

    def look(self, finished: int, now: float) -> None:
        """Take in that *finished* jobs had ended in all at *now* (seconds of any steady clock)."""
        elapsed = now - self._at
        if elapsed <= 0 or finished == self._finished:
            return
        seen = (finished - self._finished) / elapsed
        self.rate += (seen - self.rate) * WEIGHT
        self._finished, self._at = finished, now

    def prefetch(self, concurrency: int) -> int:
        """How many jobs may wait in memory besides those that run."""
        return min(concurrency, int(self.rate * AHEAD))


def read_count(concurrency: int, running: int, backlog: int, prefetch: int) -> int:
    """How many deliveries to ask for now; 0 is none yet.

    A full half of the prefetch is used up before the next read, so that each
    read brings many. *running* counts also the jobs whose end Redis does not take:
    each is kept in memory, and would have to run again if this worker died.

    >>> read_count(concurrency=100, running=100, backlog=60, prefetch=100)
    0
    >>> read_count(concurrency=100, running=100, backlog=50, prefetch=100)
    50
    >>> read_count(concurrency=10, running=7, backlog=0, prefetch=0)
    3
    """
    if backlog > prefetch // 2:
        return 0
    return max(0, concurrency - running + prefetch - backlog)
