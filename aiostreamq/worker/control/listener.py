"""Messages to all workers, read from the control stream as they come."""

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

# Seconds before the next read if Redis refused this one.
PAUSE = 5.0


class ControlListener:
    """Hands each message to its handler."""

    def __init__(
        self,
        store: "QueueStore",
        stream: "ControlStream",
        handlers: "Mapping[str, Callable[[ControlMessage], None]]",
        missed: "Callable[[], None]",
    ) -> None:
        """Prepare to listen.

        Args:
            store: The queue.
            stream: Its control stream.
            handlers: Take messages, by their kind. Other kinds are for newer workers.
            missed: Called if messages may be lost: everything must be looked at.
        """
        self._stream = stream
        self._handlers = handlers
        self._missed = missed
        self._connector = store.connector

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
                    logger.exception("the control stream could not be read, retrying")
                    await asyncio.sleep(PAUSE)
                    after = None
        finally:
            reading.close()

    async def _hear(self, link: "Link", after: str) -> str:
        end, messages = await self._stream.listen(link, after, BLOCK_MS)
        for message in messages:
            handler = self._handlers.get(message.get("say", ""))
            if handler is not None:
                handler(message)
        if len(messages) >= NEARLY_ALL:
            self._missed()  # the loop was blocked, and the oldest may be gone
        return end
