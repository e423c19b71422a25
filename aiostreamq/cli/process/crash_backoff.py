"""When a worker process that crashed starts again, and when its supervisor gives up."""

from dataclasses import dataclass

from aiostreamq.model.retry import Retry

# Seconds of work below which a crash may be part of a crash loop. Less than the default lease
# of 15 s: a job that kills its process comes back once per lease, until it is given up, and
# must not look like a crash loop.
SOON = 10.0

# This many crashes in a row, each soon, are a crash loop. With a short lease one job may crash
# max_worker_deaths (3) processes, so it must be more than that.
CRASHES = 5

# With jitter, so that processes that crashed together do not come back together.
PAUSES = Retry(CRASHES, base=0.5, cap=10.0)


@dataclass(slots=True)
class CrashBackoff:
    """The crashes of one slot.

    >>> crashes = CrashBackoff()
    >>> [crashes.pause_after(ready_seconds=1.0, draw=1.0) for _ in range(5)]
    [0.5, 1.0, 2.0, 4.0, None]
    """

    in_a_row: int = 0  #: how many came soon after one another

    def pause_after(self, ready_seconds: float, draw: float) -> float | None:
        """Count a crash, and return the seconds before the next start, or None in a crash loop.

        *ready_seconds* is how long the process had been ready for jobs, 0 if it never was.
        *draw* is the caller's random number in [0, 1].
        """
        self.in_a_row = self.in_a_row + 1 if ready_seconds < SOON else 1
        if self.in_a_row >= CRASHES:
            return None
        return PAUSES.pause(self.in_a_row, draw)
