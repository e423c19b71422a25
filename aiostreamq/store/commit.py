"""Group commit: what comes while a call is under way leaves together next.

A lone item goes at once. Under load the batches grow by themselves to what
arrives during one round trip, so there is no timer and nothing to tune.
"""

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Collects items and hands them on in batches of at most *limit*.

    *send* carries one batch to its end, whatever happens: it tells each item's
    owner, and does not raise. Batches of one flight go out in order over one
    connection, without waiting for each other's replies.
    """

    def __init__(self, send: "Callable[[list[Item]], Awaitable[None]]", limit: int) -> None:
        self._send = send
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._flight: asyncio.Task[None] | None = None
        self._is_due = False

    def add(self, item: Item) -> None:
        """Take *item* along with the next batch."""
        self._items.append(item)
        if self._flight is None and not self._is_due:
            # At the end of this turn of the loop, so that all that is added
            # during the turn goes together.
            self._is_due = True
            self._loop.call_soon(self._depart)

    async def join(self) -> None:
        """Wait until everything added so far has been sent.

        Cancelling is safe: the batches go on.
        """
        while self._flight is not None or self._items:
            if self._flight is None:
                await asyncio.sleep(0)
            else:
                await asyncio.wait([self._flight])

    def _depart(self) -> None:
        self._is_due = False
        items, limit = self._items, self._limit
        self._items = []
        batches = [items[start : start + limit] for start in range(0, len(items), limit)]
        flight = self._send(batches[0]) if len(batches) == 1 else self._send_all(batches)
        self._flight = asyncio.ensure_future(flight)
        self._flight.add_done_callback(self._land)

    async def _send_all(self, batches: list[list[Item]]) -> None:
        await asyncio.gather(*map(self._send, batches))

    def _land(self, flight: "asyncio.Task[None]") -> None:
        self._flight = None
        if self._items and not self._is_due:
            self._depart()
        if not flight.cancelled() and (error := flight.exception()) is not None:
            # Can only be a bug here: hand it to the loop's handler, loudly.
            raise error
