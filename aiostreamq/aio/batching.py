"""Group commit: items that arrive while a batch is being sent form the next batch.

A single item leaves at once. Under load a batch grows to what arrives during one round
trip, so there is no timer and nothing to tune. A full batch does not wait for the one before
it: the receiver can work on it while the next one fills.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.aio.eager import start_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Futures = list["asyncio.Future[Answer]"]


class _Batching(ABC, Generic[Item]):
    """Collects items, and decides when a batch of at most *limit* of them departs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._under_way: set[asyncio.Task[None]] = set()
        # Whether the next batch departs by itself: at the end of this turn, or when one lands.
        self._is_planned = False

    async def join(self) -> None:
        """Wait until everything that was added so far has been sent.

        Cancelling is safe: the batches are still sent.
        """
        while self._under_way or self._items:
            if self._under_way:
                await asyncio.wait(self._under_way)
            else:
                await asyncio.sleep(0)

    @abstractmethod
    def _depart(self) -> None:
        """Send all items that were collected, as one batch."""

    def _plan(self) -> None:
        if len(self._items) >= self._limit:
            self._depart()
        else:
            # At the end of this turn of the loop, so that everything that is added
            # during the turn leaves together.
            self._is_planned = True
            self._loop.call_soon(self._depart_if_any)

    def _depart_if_any(self) -> None:
        self._is_planned = bool(self._under_way)
        if self._items:
            self._depart()

    def _start(self, sending: "Coroutine[object, object, None]") -> None:
        task = start_task(sending, self._loop)
        self._under_way.add(task)
        self._is_planned = True
        task.add_done_callback(self._land)

    def _land(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not self._under_way:
            self._depart_if_any()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug in *send*: raised here it reaches the exception handler of the loop.
            raise error


class GroupCommit(_Batching[Item]):
    """Collects items and sends them in batches of at most *limit*, in their order.

    *send* handles one batch completely, errors included: it informs the owner of each item
    and does not raise.
    """

    def __init__(
        self, send: "Callable[[list[Item]], Coroutine[object, object, None]]", limit: int
    ) -> None:
        super().__init__(limit)
        self._send = send

    def add(self, item: Item) -> None:
        """Send *item* with the next batch."""
        self._items.append(item)
        if not self._is_planned or len(self._items) >= self._limit:
            self._plan()

    def _depart(self) -> None:
        batch, self._items = self._items, []
        self._start(self._send(batch))


class GroupCall(_Batching[Item], Generic[Item, Answer]):
    """Collects items as `GroupCommit` does, and gives each a future for its answer.

    *send* handles one batch, given its items and their futures. It ends each future that is not
    done, and does not raise.
    """

    def __init__(
        self,
        send: "Callable[[list[Item], Futures[Answer]], Coroutine[object, object, None]]",
        limit: int,
    ) -> None:
        super().__init__(limit)
        self._send = send
        # Beside the items: a pair for each would be one more object that the garbage collector
        # visits for each waiting call, and gathered calls wait by the thousand.
        self._futures: Futures[Answer] = []

    def put(self, item: Item) -> "asyncio.Future[Answer]":
        """Send *item* with the next batch; return the future of its answer."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._items.append(item)
        self._futures.append(future)
        if not self._is_planned or len(self._items) >= self._limit:
            self._plan()
        return future

    def _depart(self) -> None:
        batch, self._items = self._items, []
        futures, self._futures = self._futures, []
        self._start(self._send(batch, futures))
