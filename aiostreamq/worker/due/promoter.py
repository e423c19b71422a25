"""Putting what is due into its streams, on time and without polling.

Any worker does it for all. Each sleeps until the next job is due and is woken,
through the control stream, when something earlier comes.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from aiostreamq.store.delayed import DelayedJobs

logger = get_logger("aiostreamq.worker")

# Seconds at most between two looks: a word that was lost costs no more.
LONGEST_SLEEP = 15.0

# Seconds before the next look where Redis refused this one.
PAUSE = 5.0


class Promoter:
    """Watches the delayed jobs of a queue."""

    def __init__(self, schedule: "DelayedJobs") -> None:
        self._schedule = schedule
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now: something may be due earlier than was known."""
        self._woken.set()

    async def run(self) -> None:
        """Promote until cancelled."""
        while True:
            self._woken.clear()
            wait = await self._promote()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _promote(self) -> float:
        """Move what is due; returns the seconds to sleep."""
        try:
            _, wait = await self._schedule.promote()
        except AioStreamQError:
            logger.exception("delayed jobs could not be looked at, trying on")
            return PAUSE
        return LONGEST_SLEEP if wait is None else min(wait, LONGEST_SLEEP)
