"""Reading ahead: the next page is on its way while the caller works on this one.

The server then has work during the round trip of the caller, and the caller during that of the
server. A page is read before the caller has handled the one before it, so this is only for
iterators whose position does not depend on what the caller does with a page.
"""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.aio.protected_tasks import spawn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Page = TypeVar("Page")


async def read_ahead(pages: "AsyncGenerator[Page]") -> "AsyncGenerator[Page]":
    """Yield *pages*, and read one more while the caller has the last.

    Closing this generator, or cancelling its caller, closes *pages*.
    """
    async with aclosing(pages):
        reading = spawn(_next_of(pages), "aiostreamq:read-ahead")
        try:
            while page := await reading:
                reading = spawn(_next_of(pages), "aiostreamq:read-ahead")
                yield page[0]
        finally:
            reading.end()
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.exception()  # it was read in vain, so its error does not matter


async def _next_of(pages: "AsyncGenerator[Page]") -> tuple[Page] | None:
    try:
        return (await anext(pages),)
    except StopAsyncIteration:
        return None
