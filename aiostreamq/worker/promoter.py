"""Putting what is due into its streams, on time and without polling.

Any worker does it for all. Each sleeps until the next job is due and is woken,
through the control stream, when something earlier comes.
"""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError
from aiostreamq.store.line import Line

if TYPE_CHECKING:
    from aiostreamq.store.broker import Broker
    from aiostreamq.store.link import Link
    from aiostreamq.store.schedule import Schedule

logger = logging.getLogger("aiostreamq.worker")

# Milliseconds that one read of the control stream waits.
BLOCK_MS = 5000

# Seconds beyond the block before the connection is taken for dead.
MARGIN = 5.0

# Seconds at most between two looks: a word that was lost costs no more.
LONGEST_SLEEP = 5.0


class Promoter:
    """Watches the delayed jobs of a queue."""

    def __init__(self, broker: "Broker", schedule: "Schedule") -> None:
        self._schedule = schedule
        self._line = Line(broker.connector, "control", reply_timeout=BLOCK_MS / 1000 + MARGIN)
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Promote until cancelled."""
        listening = asyncio.create_task(self._listen(), name="aiostreamq:control")
        try:
            while True:
                self._woken.clear()
                wait = await self._promote()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            self._line.close()

    async def _promote(self) -> float:
        """Move what is due; returns the seconds to sleep."""
        try:
            _, wait = await self._schedule.promote()
        except BrokerError:
            logger.exception("delayed jobs could not be looked at, trying on")
            return LONGEST_SLEEP
        return LONGEST_SLEEP if wait is None else min(wait, LONGEST_SLEEP)

    async def _listen(self) -> None:
        after: str | None = None
        while True:
            try:
                if after is None:
                    after = await self._schedule.last_word()
                    self._woken.set()  # something may have been said before
                last = after
                after = await self._line.persist(lambda link, last=last: self._hear(link, last))
            except BrokerError:
                logger.exception("the control stream could not be read, trying on")
                await asyncio.sleep(LONGEST_SLEEP)
                after = None

    async def _hear(self, link: "Link", after: str) -> str:
        heard = await self._schedule.listen(link, after, BLOCK_MS)
        if heard != after:
            self._woken.set()
        return heard
