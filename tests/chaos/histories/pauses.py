"""What is paused, as the account knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiostreamq.model.keys import ADMITTED, RESERVED
from tests.chaos.histories.job import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.histories.job import Job

RETURNED = "returned"

#: A time in ms that has passed, whenever it is asked.
LONG_AGO = 1000


class Pauses:
    """Tasks and lanes, each until when: 0 is until it is resumed."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}  #: also what is over by now, and has not been looked at

    @property
    def holding(self) -> dict[str, int]:
        """Those that are not over."""
        return {word: until for word, until in self.told.items() if until != LONG_AGO}

    def pause(self, words: Iterable[str], until: int) -> int:
        """Pause, or change until when; returns how many were not told of."""
        fresh = len({*words} - {*self.told})
        self.told |= dict.fromkeys(words, until)
        return fresh

    def resume(self, words: Iterable[str]) -> int:
        """Go on; returns how many were told of."""
        return len([self.told.pop(word) for word in {*words} & {*self.told}])

    def look(self) -> set[str]:
        """Forget what is over; returns the rest."""
        self.told = self.holding
        return set(self.told)

    def has_task(self, job: Job) -> bool:
        """Whether the task of a job is paused."""
        return f"task:{job.call.task}" in self.holding

    def has_lane(self, job: Job) -> bool:
        """Whether the lane of a job is paused; one that was admitted has left its lane."""
        return job.line != ADMITTED and f"lane:{lane_of(job)}" in self.holding

    def holds(self, backlog: str) -> bool:
        """Whether the jobs of a backlog are not to be admitted."""
        lane, task, *_ = backlog.split()
        return f"lane:{lane}" in self.holding or f"task:{task}" in self.holding


def lane_of(job: Job) -> str:
    """Where a job belongs that was delivered."""
    return TASKS[job.call.task] if job.line in RESERVED else job.line
