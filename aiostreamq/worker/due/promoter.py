"""Due jobs are put into their streams on time and without polling.

Any worker does it for all. Each sleeps until the next job is due, and is woken through the control
stream when a job with an earlier time comes.
"""

from typing import TYPE_CHECKING

from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from aiostreamq.store.delayed import DelayedJobs

logger = get_logger("aiostreamq.worker")

# Seconds at most between two looks: a lost message costs no more than this.
LONGEST_SLEEP = 15.0

# Seconds before the next look if Redis refused this one.
PAUSE = 5.0


class Promoter:
    """Watches the delayed jobs of a queue."""

    def __init__(self, delayed: "DelayedJobs") -> None:
        self._delayed = delayed
        self._wakeup = Wakeup()

    def wake(self) -> None:
        """Look now: a job may be due earlier than was known."""
        self._wakeup.wake()

    async def run(self) -> None:
        """Promote until cancelled."""
        while True:
            await self._wakeup.wait(await self._promote())

    async def _promote(self) -> float:
        """Move the jobs that are due; return the seconds to sleep."""
        try:
            _, wait = await self._delayed.promote()
        except AioStreamQError:
            logger.exception("delayed jobs could not be promoted, retrying")
            return PAUSE
        return LONGEST_SLEEP if wait is None else min(wait, LONGEST_SLEEP)
