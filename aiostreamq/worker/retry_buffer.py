"""Telling Redis what it has refused, again and again, until it takes it."""

import asyncio
import random
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.aio.tasks import OwnTask, spawn
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")

logger = get_logger("aiostreamq.worker")

# Seconds between tries. What Redis refuses is for people to repair: a right that is
# missing, a key that is something else.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


class RetryBuffer(Generic[Item]):
    """Keeps what was refused, and tells it again beside whatever comes meanwhile.

    What Redis does not answer is tried on without an end further down, and does not come here.
    """

    def __init__(
        self,
        what: str,
        send: "Callable[[list[Item]], Awaitable[None]]",
        taken: "Callable[[], None]",
    ) -> None:
        """Prepare.

        Args:
            what: What the items are, for people.
            send: Carries a batch, or raises where it is refused. May be called again with it.
                What it raises of other kinds is a refusal too: forgotten, the batch would be
                held by this worker as long as it lives.
            taken: Called when all that was refused has been taken.
        """
        self._what = what
        self._send = send
        self._taken = taken
        self._refused: list[list[Item]] = []  # batches as they came
        self._trying = asyncio.Lock()
        self._task: OwnTask[None] | None = None  # while anything is refused

    @property
    def refused(self) -> int:
        """How many items are kept, to be told again."""
        return sum(map(len, self._refused))

    async def send(self, batch: "list[Item]") -> None:
        """Carry a batch; does not raise, but keeps what is refused."""
        try:
            await self._send(batch)
        except Exception:
            logger.exception("%d %s were refused by Redis, trying on", len(batch), self._what)
            self._refused.append(batch)
            if self._task is None:
                self._task = spawn(self._insist(), "aiostreamq:insist")

    async def try_again(self) -> Exception | None:
        """Tell now what was refused, once; returns why some is refused still.

        Cancelling is safe: it is kept.
        """
        error: Exception | None = None
        async with self._trying:
            for batch in list(self._refused):
                try:
                    await self._send(batch)
                except Exception as refusal:  # noqa: BLE001  # returned
                    error = refusal
                else:
                    self._refused.remove(batch)
        return error

    def close(self) -> None:
        """Try no more: others will run those jobs."""
        if self._task is not None:
            self._task.end()

    async def _insist(self) -> None:
        pause = FIRST_PAUSE
        while self._refused:
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, LONGEST_PAUSE)
            if error := await self.try_again():
                logger.error(
                    "%d %s are still refused, trying on: %s", self.refused, self._what, error
                )
            else:
                logger.warning("Redis has taken all %s that it had refused", self._what)
                self._taken()
        self._task = None
