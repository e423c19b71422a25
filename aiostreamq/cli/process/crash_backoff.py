"""When a worker process that crashed starts again, and when that is given up."""

from dataclasses import dataclass

from aiostreamq.model.retry import Retry

# Seconds of work that tell a crash from a crash loop. Less than the default lease of
# 15 s: a job that kills its process comes back after each lease, until it is given up.
# That is no reason to give the workers up.
SOON = 10.0

# So many crashes in a row, each soon, are a loop. One job may cost three processes
# where the lease is short (max_worker_deaths), so it must be more than that.
CRASHES = 5

# With jitter, so that processes that crashed together do not come back together.
PAUSES = Retry(CRASHES, base=0.5, cap=10.0)


@dataclass(slots=True)
class CrashBackoff:
    """The crashes of one slot.

    >>> crashes = CrashBackoff()
    >>> [crashes.pause_after(worked=1.0, draw=1.0) for _ in range(5)]
    [0.5, 1.0, 2.0, 4.0, None]
    """

    in_a_row: int = 0  #: how many followed each other soon

    def pause_after(self, worked: float, draw: float) -> float | None:
        """Count a crash; returns the seconds before the next start, None in a crash loop.

        *worked* is for how many seconds the process had worked, 0 if it never did.
        *draw* is the caller's random number in [0, 1].
        """
        self.in_a_row = self.in_a_row + 1 if worked < SOON else 1
        if self.in_a_row >= CRASHES:
            return None
        return PAUSES.pause(self.in_a_row, draw)
