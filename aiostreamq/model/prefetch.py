"""Prefetch: how many jobs a worker reads ahead.

An idle worker cannot run a job that waits in the memory of another one, so slow jobs are hardly
prefetched. Jobs that take microseconds must be prefetched by the hundred, or the worker would
spend its time reading.
"""

# Seconds of work that may wait in memory: several round trips, even to a distant Redis. A job in a
# heavier lane may have to wait this long for jobs that were prefetched before it.
AHEAD = 0.025

# The share of one measurement in the new estimate.
WEIGHT = 0.5


class Throughput:
    """How many jobs per second this worker has recently finished."""

    __slots__ = ("_at", "_finished", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._finished = 0
        self._at = 0.0

    def look(self, finished: int, now: float) -> None:
        """Note the total of *finished* jobs at *now* (seconds of any monotonic clock)."""
        elapsed = now - self._at
        if elapsed <= 0 or finished == self._finished:
            return
        seen = (finished - self._finished) / elapsed
        self.rate += (seen - self.rate) * WEIGHT
        self._finished, self._at = finished, now

    def prefetch(self, concurrency: int) -> int:
        """Return how many jobs may wait in memory besides those that run."""
        return min(concurrency, int(self.rate * AHEAD))


def read_count(concurrency: int, running: int, backlog: int, prefetch: int) -> int:
    """Return how many deliveries to read now; 0 is not yet.

    Half of the prefetch is used up before the next read, so that each read fetches many.
    *running* includes finished jobs whose settlement Redis has not accepted: they stay in memory,
    and would run again if this worker died.

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
