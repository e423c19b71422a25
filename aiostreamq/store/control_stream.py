"""Messages to all workers of a queue, sent through one stream."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from aiostreamq.store.queue import pairs_of

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.queue import QueueStore

#: The scripts keep at least 1,000 entries. So if a read brings fewer than this, no entry was
#: dropped before it was read.
NEARLY_ALL = 900

#: The fields of an entry: `say` is the kind of message, the others depend on it.
ControlMessage = Mapping[str, str]


class ControlStream:
    """The control stream of one queue, which workers read and scripts write."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._key = queue.keys.control

    async def end(self) -> str:
        """Return the id of the last entry."""
        found = await self._queue.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        entries = cast("list[list[bytes]]", found)
        return entries[0][0].decode() if entries else "0"

    async def listen(
        self, link: "Link", after: str, block_ms: int
    ) -> tuple[str, list[ControlMessage]]:
        """Wait for messages; return the id of the last one, and the messages.

        Args:
            link: A connection of the caller's own: the read blocks it.
            after: The id that was read last.
            block_ms: Milliseconds to wait at most.
        """
        found = await link.call("XREAD", "BLOCK", block_ms, "STREAMS", self._key, after)
        if found is None:
            return after, []
        [[_, entries]] = cast("list[tuple[bytes, list[tuple[bytes, list[bytes]]]]]", found)
        return entries[-1][0].decode(), [pairs_of(fields) for _, fields in entries]
