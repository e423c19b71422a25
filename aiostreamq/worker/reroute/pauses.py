"""The pauses that this worker knows of."""

from typing import TYPE_CHECKING

from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger
from aiostreamq.model.pauses import LANE, TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.store.pauses import PauseStore

logger = get_logger("aiostreamq.worker")

# Seconds before the next look if Redis refused this one.
PAUSE = 5.0

# Seconds at most between two looks while a pause has an end: clocks may be set.
LONGEST_SLEEP = 60.0


class Pauses:
    """Keeps up with the tasks and lanes that are paused."""

    def __init__(self, store: "PauseStore", changed: "Callable[[], None]") -> None:
        """Prepare; *changed* is called whenever a pause begins or ends."""
        self.paused: set[str] = set()  #: "task:<name>" and "lane:<name>"; always the same object
        self._store = store
        self._changed = changed
        self._soonest: float | None = None  # seconds until a pause ends by itself
        self._wakeup = Wakeup()

    def has_lane(self, lane: str) -> bool:
        """Whether a lane is paused."""
        return LANE + lane in self.paused

    def has_task(self, task: str) -> bool:
        """Whether a task is paused."""
        return TASK + task in self.paused

    def wake(self) -> None:
        """Look now: something was paused or resumed, or a message about that may be lost."""
        self._wakeup.wake()

    async def load(self) -> None:
        """Load what is paused.

        Raises:
            BrokerError: Redis refused.
        """
        now_ms, pauses = await self._store.paused()
        self._take(pauses)
        ends = [until - now_ms for until in pauses.values() if until]
        self._soonest = min(min(ends) / 1000, LONGEST_SLEEP) if ends else None

    def notice(self, pauses: "Mapping[str, int]") -> None:
        """Take over the pauses that a read has met, which may come before the message does."""
        if set(pauses) != self.paused:
            self._take(pauses)
            self._wakeup.wake()

    async def run(self) -> None:
        """Load the pauses when woken, and when one ends by itself, until cancelled."""
        while True:
            await self._wakeup.wait(self._soonest)
            try:
                await self.load()
            except BrokerError:
                logger.exception("pauses could not be loaded, retrying")
                self._soonest = PAUSE

    def _take(self, pauses: "Mapping[str, int]") -> None:
        fresh = set(pauses)
        if fresh == self.paused:
            return
        if begun := fresh - self.paused:
            logger.info("paused: %s", _listed(begun))
        if ended := self.paused - fresh:
            logger.info("resumed: %s", _listed(ended))
        self.paused.clear()
        self.paused.update(fresh)
        self._changed()


def _listed(names: set[str]) -> str:
    return ", ".join(name.replace(":", " ", 1) for name in sorted(names))
