"""Jobs that were with workers when they died: which of them is the cause?

A job that kills its process takes its neighbours along, and they come back together.
So before such a job is run once more that is written down, and only what was run counts
against it; and on its last chance it is run apart from others of its kind.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.roster import Roster

logger = logging.getLogger("aiostreamq.worker")

# Seconds that a job on its last chance has to itself. What kills its process does so
# soon, and hour-long jobs whose workers were killed twice must not wait for each other.
ALONE = 5.0


class Suspects:
    """Says when a job that has cost workers their life may run."""

    def __init__(self, roster: "Roster", max_deliveries: int) -> None:
        self._roster = roster
        # Never all jobs, not even where the first death is the last.
        self._alone_from = max(1, max_deliveries - 1)
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, delivery: "Delivery") -> AsyncGenerator[None]:
        """Wait until the job may run, and run it inside. Cancelling is safe."""
        if delivery.deaths < self._alone_from:
            await self._mark(delivery)
            yield
            return
        await self._alone.acquire()
        is_alone = True

        def let_others_on() -> None:
            nonlocal is_alone
            if is_alone:
                is_alone = False
                self._alone.release()

        timer = asyncio.get_running_loop().call_later(ALONE, let_others_on)
        try:
            await self._mark(delivery)
            yield
        finally:
            timer.cancel()
            let_others_on()

    async def _mark(self, delivery: "Delivery") -> None:
        try:
            await self._roster.mark(delivery)
        except BrokerError:
            logger.exception("a job that was with dead workers could not be marked, running it")
