"""The limit of what one call of a test may run, so that endless jobs end it with an error."""

from collections import Counter
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

# Runs in one call. More are a mistake in nearly all tests, and take half a minute in memory.
MOST_RUNS = 10_000

# Moments for each run: a job may sleep often, and ticks of schedules may be skipped.
MOMENTS = 10


class RunLimit:
    """Counts the runs, and the moments of a clock, in one call of a test."""

    def __init__(self, call: str, most: int, stop: "Callable[[], None]") -> None:
        """Begin to count.

        Args:
            call: The name of the call, for errors.
            most: How many runs there may be.
            stop: Called at the first run beyond; has the workers take no more jobs.

        Raises:
            UsageError: *most* is not an integer from 1.
        """
        if type(most) is not int or most < 1:
            raise UsageError(f"{call}: most_runs must be an integer from 1, got {most!r}")
        self._call = call
        self._most = most
        self._stop = stop
        self._runs: Counter[str] = Counter()  # by task
        self._count = 0
        self._moments = 0
        self._count_before = 0  # how many runs had begun when time moved last

    def note_run(self, task: str) -> None:
        """Count a run of *task* that begins."""
        self._runs[task] += 1
        self._count += 1
        if self._count == self._most + 1:
            self._stop()

    def note_moment(self) -> None:
        """Count a moment at which the clock stops.

        Raises:
            UsageError: The limit is passed.
        """
        self.check()
        self._moments += 1
        self._count_before = self._count
        if self._moments > MOMENTS * self._most:
            raise UsageError(
                f"{self._call} has stopped the clock {self._moments - 1:,} times{self._shown()}: "
                f"let less time pass at once, or raise most_runs={self._most}"
            )

    def check(self) -> None:
        """Raise UsageError if there were too many runs."""
        if self._count <= self._most:
            return
        if self._count - self._count_before > self._most / 2:
            advice = (
                "They enqueue or retry each other at once, without an end: give them a delay, run "
                "them one at a time with run_one(),"
            )
        else:
            advice = "Let less time pass at once,"
        raise UsageError(
            f"{self._call} has begun more than {self._most:,} runs{self._shown()}. {advice} or "
            f"raise most_runs={self._most}"
        )

    def _shown(self) -> str:
        most_frequent = [f"{count:,} of task {name!r}" for name, count in self._runs.most_common(3)]
        return f", {', '.join(most_frequent)}" if most_frequent else ""
