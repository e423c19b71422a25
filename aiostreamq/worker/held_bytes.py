"""The bound on the payloads that a worker holds in memory.

A worker that runs a hundred jobs of a megabyte has each payload several times: as it came, decoded,
as a result, and encoded. So it runs fewer at once while payloads are large. It knows the sizes of
recent ones: arguments by what each read has brought, results by what is to be settled. Small
payloads are not counted one by one.
"""

from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

logger = get_logger("aiostreamq.worker")

# The share of the jobs that have ended since the last look in the average of results, if theirs
# were shorter than the average. Longer ones count at once.
WEIGHT = 0.25

# Up to this average, results do not matter: thousands of jobs would have to run at once.
SMALL_RESULT = 1000

MEGABYTE = 1_000_000


class HeldBytes:
    """Decides how many jobs may run at once, so that their payloads fit into a number of bytes."""

    def __init__(self, most: int, concurrency: int, narrow: "Callable[[int], None]") -> None:
        """Begin without knowing any payload.

        Args:
            most: The most bytes of payloads: arguments of jobs that run, and their results until
                Redis has them.
            concurrency: How many jobs run at once if payloads are small.
            narrow: Called with how many may run at once, if that has changed.
        """
        self.width = concurrency  #: how many jobs may run at once
        self.unsettled = 0  #: bytes of large results that Redis does not have yet
        self._most = most
        self._concurrency = concurrency
        self._narrow = narrow
        self._argument = 0.0  # average bytes of recent arguments
        self._result = 0.0  # average bytes of recent results
        self._results = 0  # bytes of large results since the last look
        self._finished = 0  # how many jobs had ended at the last look
        self._is_reported = False

    @property
    def is_narrow(self) -> bool:
        """Whether fewer jobs run at once than could."""
        return self.width < self._concurrency

    @property
    def has_results(self) -> bool:
        """Whether results were large not long ago."""
        return self._results > 0 or self._result > 0

    def look(self, argument: float, finished: int) -> None:
        """Take the average bytes of recent arguments, and how many jobs have ended so far."""
        self._argument = argument
        if ended := finished - self._finished:
            self._finished = finished
            found = self._results / ended
            if found < self._result:
                found = self._result + (found - self._result) * WEIGHT
            self._result = found if found > SMALL_RESULT else 0.0
            self._results = 0
        self._fit()

    def add_result(self, size: int) -> None:
        """Note that a large result waits to be settled."""
        self.unsettled += size
        self._results += size
        self._fit()

    def remove_result(self, size: int) -> None:
        """Note that Redis has large results of *size* bytes, or that they were dropped."""
        self.unsettled = max(0, self.unsettled - size)
        self._fit()

    def _fit(self) -> None:
        each = self._argument + self._result
        left = max(0, self._most - self.unsettled)
        width = min(self._concurrency, int(left / each)) if each else self._concurrency
        # Results that wait take the place of jobs. Without any, one job may always run.
        width = max(width, 0 if self.unsettled else 1)
        if width != self.width:
            was_narrow, self.width = self.is_narrow, width
            if self.is_narrow and not was_narrow:
                self._report(each)
            self._narrow(width)

    def _report(self, each: float) -> None:
        # Once as a warning: with payloads of many sizes it may come and go.
        log = logger.info if self._is_reported else logger.warning
        self._is_reported = True
        log(
            "payloads are large, about %.2g MB a job: fewer than %d jobs run at once, so that "
            "their payloads stay below %.3g MB; raise max_held_bytes if there is memory for more",
            each / MEGABYTE,
            self._concurrency,
            self._most / MEGABYTE,
        )
