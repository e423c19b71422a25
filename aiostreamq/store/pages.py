"""Streams read page by page, for people and for programs that look through them.

A page has a number of entries at most, and about a megabyte: see `ReadSize`. Payloads that are read
one by one are asked for in the same way.
"""

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from aiostreamq.store.queue import QueueStore

Entry = tuple[bytes, list[bytes]]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# How many entries a page has at most. Payloads of a megabyte may follow small ones: Redis copies a
# page as a whole, and this many of them take about 20 ms.
PAGE = 32


async def pages_of(
    queue: "QueueStore", command: str, stream: str, begin: str, end: str, most: int = PAGE
) -> "AsyncGenerator[list[Entry], None]":
    """Yield the entries of a stream in pages.

    Args:
        queue: The queue.
        command: XRANGE, or XREVRANGE to begin with the newest.
        stream: The key of the stream.
        begin: The id of the first entry; "(<id>" begins after it.
        end: The id of the last entry.
        most: How many entries a page may have, if fewer than PAGE.

    Raises:
        CallTooLarge: Redis cannot send one of the entries.
        BrokerError: Redis refused.
    """
    await queue.open()
    size = ReadSize()
    while True:
        count = min(most, size.most, PAGE)
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


async def ask_each(
    ask: "Callable[[Item], Awaitable[Answer]]",
    items: "Sequence[Item]",
    size_of: "Callable[[Answer], int]",
    size: ReadSize,
) -> list[Answer]:
    """Ask for each of *items*, some at a time, and return the answers.

    Redis handles calls that arrive together before it looks at other clients.

    Args:
        ask: Sends one call.
        items: The arguments of the calls.
        size_of: Returns how many bytes an answer has.
        size: How many to ask for at a time; it learns from the answers.
    """
    answers: list[Answer] = []
    while len(answers) < len(items):
        some = items[len(answers) : len(answers) + min(size.most, PAGE)]
        found = await asyncio.gather(*map(ask, some))
        size.note(len(found), sum(map(size_of, found)))
        answers += found
    return answers
