"""Group commit: items that arrive while a batch is being sent form the next batch.

A single item leaves at once. Under load a batch grows to what arrives during one round
trip, so there is no timer and nothing to tune. A full batch does not wait for the one before
it: the receiver can work on it while the next one fills.
"""

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.aio.eager import start_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Collects items and sends them in batches of at most *limit*, in their order.

    *send* handles one batch completely, errors included: it informs the owner of each item
    and does not raise.
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
        """Send *item* with the next batch."""
        self._items.append(item)
        if len(self._items) >= self._limit:
            self._depart()
        elif not self._under_way and not self._is_due:
            # At the end of this turn of the loop, so that everything that is added
            # during the turn leaves together.
            self._is_due = True
            self._loop.call_soon(self._depart_if_any)

    async def join(self) -> None:
        """Wait until everything that was added so far has been sent.

        Cancelling is safe: the batches are still sent.
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
            # A bug in *send*: raised here it reaches the exception handler of the loop.
            raise error
