"""Knowing what is paused, and letting it go on in time."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger
from aiostreamq.model.pauses import LANE, TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.store.pauses import PauseStore

logger = get_logger("aiostreamq.worker")

# Seconds before it is asked again after Redis refused.
PAUSE = 5.0

# Seconds at most between two looks while something ends by itself: clocks may be set.
LONGEST_SLEEP = 60.0


class Pauses:
    """What is paused, as far as this worker knows."""

    def __init__(self, steering: "PauseStore", changed: "Callable[[], None]") -> None:
        """Prepare; *changed* is called whenever something else is paused than before."""
        self.words: set[str] = set()  #: "task:<name>" and "lane:<name>"; always the same set
        self._steering = steering
        self._changed = changed
        self._soonest: float | None = None  # seconds until something ends by itself
        self._news = asyncio.Event()

    def has_lane(self, lane: str) -> bool:
        """Whether a lane is paused."""
        return LANE + lane in self.words

    def has_task(self, task: str) -> bool:
        """Whether a task is paused."""
        return TASK + task in self.words

    def wake(self) -> None:
        """Something was paused or resumed, or that may have been said unheard."""
        self._news.set()

    async def load(self) -> None:
        """Ask what is paused.

        Raises:
            BrokerError: Redis refused.
        """
        now_ms, told = await self._steering.paused()
        self._take(told)
        ends = [until - now_ms for until in told.values() if until]
        self._soonest = min(min(ends) / 1000, LONGEST_SLEEP) if ends else None

    def notice(self, told: "Mapping[str, int]") -> None:
        """Take in what a read has met: it knows of a pause before the word of it has come."""
        if set(told) != self.words:
            self._take(told)
            self._news.set()

    async def run(self) -> None:
        """Keep up with what is said, and end in time what ends by itself, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._soonest):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.load()
            except BrokerError:
                logger.exception("could not ask what is paused, trying on")
                self._soonest = PAUSE

    def _take(self, told: "Mapping[str, int]") -> None:
        fresh = set(told)
        if fresh == self.words:
            return
        if begun := fresh - self.words:
            logger.info("paused: %s", _listed(begun))
        if ended := self.words - fresh:
            logger.info("resumed: %s", _listed(ended))
        self.words.clear()
        self.words.update(fresh)
        self._changed()


def _listed(words: set[str]) -> str:
    return ", ".join(word.replace(":", " ", 1) for word in sorted(words))
