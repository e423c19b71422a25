"""Batches that Redis has refused, sent again until it accepts them."""

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.aio.backoff import Backoff
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")

logger = get_logger("aiostreamq.worker")

# Seconds between tries. People have to repair what makes Redis refuse: a missing right, or a key of
# another type.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


class RefusedBatches(Generic[Item]):
    """Keeps refused batches, and sends them again while other batches pass.

    A batch that Redis does not answer is not refused: the connection sends it again by itself.
    """

    def __init__(
        self,
        what: str,
        send: "Callable[[list[Item]], Awaitable[None]]",
        accepted: "Callable[[], None]",
    ) -> None:
        """Prepare.

        Args:
            what: The name of the items, for log lines.
            send: Sends a batch, or raises if it is refused. May be called again with it.
                Any error counts as a refusal: a batch that was dropped would be held by this
                worker as long as it lives.
            accepted: Called when Redis has accepted all that it had refused.
        """
        self._what = what
        self._send = send
        self._accepted = accepted
        self._refused: list[list[Item]] = []  # batches as they came
        self._trying = asyncio.Lock()
        self._task: OwnTask[None] | None = None  # while anything is refused

    @property
    def refused(self) -> int:
        """How many items wait to be sent again."""
        return sum(map(len, self._refused))

    async def send(self, batch: "list[Item]") -> None:
        """Send a batch. Does not raise: a refused batch is kept."""
        try:
            await self._send(batch)
        except Exception:
            logger.exception("%d %s were refused by Redis, retrying", len(batch), self._what)
            self._refused.append(batch)
            if self._task is None:
                self._task = spawn(self._retry(), "aiostreamq:retry")

    async def try_again(self) -> Exception | None:
        """Send the refused batches once more, now; return why some are still refused.

        Cancelling is safe: they are kept.
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
        """Stop retrying: other workers will run those jobs."""
        if self._task is not None:
            self._task.end()

    async def _retry(self) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while self._refused:
            await backoff.pause()
            if error := await self.try_again():
                logger.error(
                    "%d %s are still refused, retrying: %s", self.refused, self._what, error
                )
            else:
                logger.warning("Redis has accepted all %s that it had refused", self._what)
                self._accepted()
        self._task = None
