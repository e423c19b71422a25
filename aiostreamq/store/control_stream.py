"""Words to all workers of a queue, pushed through one stream."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from aiostreamq.store.queue import pairs_of

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.queue import QueueStore

#: The scripts keep at least 1,000 entries. So where a read brings fewer than this many, none was
#: dropped before it was read.
NEARLY_ALL = 900

#: What an entry says: `say`, and what belongs to it.
Word = Mapping[str, str]


class ControlStream:
    """The control stream of one queue, as a worker hears it. Scripts write it."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._key = queue.keys.control

    async def end(self) -> str:
        """Where the stream ends now."""
        found = await self._queue.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        entries = cast("list[list[bytes]]", found)
        return entries[0][0].decode() if entries else "0"

    async def listen(self, link: "Link", after: str, block_ms: int) -> tuple[str, list[Word]]:
        """Wait for words; returns where the stream ends then, and what was said.

        Args:
            link: A connection of the caller's own: this blocks it.
            after: Where it was read last.
            block_ms: Milliseconds to wait at most.
        """
        found = await link.call("XREAD", "BLOCK", block_ms, "STREAMS", self._key, after)
        if found is None:
            return after, []
        [[_, entries]] = cast("list[tuple[bytes, list[tuple[bytes, list[bytes]]]]]", found)
        return entries[-1][0].decode(), [pairs_of(fields) for _, fields in entries]
