"""Group commit: what comes while a batch is under way leaves together next.

A lone item goes at once. Under load the batches grow by themselves to what
arrives during one round trip, so there is no timer and nothing to tune. A full
batch does not wait for the one before: Redis can work on it while the next is
being gathered.
"""

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.aio.eager import start_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Collects items and hands them on in batches of at most *limit*, in their order.

    *send* carries one batch to its end, whatever happens: it tells each item's
    owner, and does not raise.
    """

    def __init__(
        self, send: "Callable[[list[Item]], Coroutine[object, object, None]]", limit: int
    ) -> None:
        self._send = send
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_due = False

    def add(self, item: Item) -> None:
        """Take *item* along with the next batch."""
        self._items.append(item)
        if len(self._items) >= self._limit:
            self._depart()
        elif not self._under_way and not self._is_due:
            # At the end of this turn of the loop, so that all that is added
            # during the turn goes together.
            self._is_due = True
            self._loop.call_soon(self._depart_if_any)

    async def join(self) -> None:
        """Wait until everything added so far has been sent.

        Cancelling is safe: the batches go on.
        """
        while self._under_way or self._items:
            if self._under_way:
                await asyncio.wait(self._under_way)
            else:
                await asyncio.sleep(0)

    def _depart_if_any(self) -> None:
        self._is_due = False
        if self._items:
            self._depart()

    def _depart(self) -> None:
        batch, self._items = self._items, []
        task = start_task(self._send(batch), self._loop)
        self._under_way.add(task)
        task.add_done_callback(self._land)

    def _land(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not self._under_way:
            self._depart_if_any()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Can only be a bug here: hand it to the loop's handler, loudly.
            raise error
