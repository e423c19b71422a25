"""Hearing what is said to all workers, the moment it is said."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.store.connection.blocking_read import BlockingRead
from aiostreamq.store.control_stream import NEARLY_ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.control_stream import ControlMessage, ControlStream
    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.worker")

# Milliseconds that one read of the control stream waits.
BLOCK_MS = 5000

# Seconds before the stream is read again after Redis refused.
PAUSE = 5.0


class ControlListener:
    """Hands each word to who is meant."""

    def __init__(
        self,
        broker: "QueueStore",
        stream: "ControlStream",
        handlers: "Mapping[str, Callable[[ControlMessage], None]]",
        missed: "Callable[[], None]",
    ) -> None:
        """Prepare to listen.

        Args:
            broker: The queue.
            stream: Its control stream.
            handlers: Who takes a word, by what it says. Others are for newer workers.
            missed: Called where words may have been said unheard: look at everything.
        """
        self._stream = stream
        self._handlers = handlers
        self._missed = missed
        self._connector = broker.connector

    async def run(self) -> None:
        """Listen until cancelled."""
        after: str | None = None
        # The stream is short: when the connection was lost, some entries may be gone from it.
        reading = BlockingRead(self._connector, "control", BLOCK_MS / 1000, replaced=self._missed)
        try:
            while True:
                try:
                    if after is None:
                        after = await self._stream.end()
                        self._missed()
                    last = after
                    after = await reading.persist(lambda link, last=last: self._hear(link, last))
                except AioStreamQError:
                    logger.exception("the control stream could not be read, trying on")
                    await asyncio.sleep(PAUSE)
                    after = None
        finally:
            reading.close()

    async def _hear(self, link: "Link", after: str) -> str:
        end, words = await self._stream.listen(link, after, BLOCK_MS)
        for word in words:
            handler = self._handlers.get(word.get("say", ""))
            if handler is not None:
                handler(word)
        if len(words) >= NEARLY_ALL:
            self._missed()  # the loop was blocked, and the oldest may be gone
        return end
