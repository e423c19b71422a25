"""Streams read page by page, for people and for programs that look through them.

A page has a number of entries at most, and about a megabyte: see `ReadSize`.
"""

from typing import TYPE_CHECKING, cast

from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiostreamq.store.queue import QueueStore

Entry = tuple[bytes, list[bytes]]


async def pages_of(
    queue: "QueueStore", command: str, stream: str, begin: str, end: str, most: int
) -> "AsyncGenerator[list[Entry], None]":
    """Yield the entries of a stream in pages.

    Args:
        queue: The queue.
        command: XRANGE, or XREVRANGE to begin with the newest.
        stream: The key of the stream.
        begin: The id of the first entry; "(<id>" begins after it.
        end: The id of the last entry.
        most: How many entries a page may have.

    Raises:
        CallTooLarge: Redis cannot send one of the entries.
        BrokerError: Redis refused.
    """
    await queue.open()
    size = ReadSize()
    while True:
        count = min(most, size.most)
        try:
            reply = await queue.call(command, stream, begin, end, "COUNT", count)
        except CallTooLarge:
            if count == 1:
                raise
            size.halve(count)
            continue
        page = cast("list[Entry]", reply)
        size.note(len(page), sum(sum(map(len, fields)) for _, fields in page))
        if page:
            yield page
        if len(page) < count:
            return
        begin = f"({page[-1][0].decode()}"
