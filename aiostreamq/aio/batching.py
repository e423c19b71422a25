"""Group commit: items that arrive while a batch is being sent form the next batch.

A single item leaves at once. Under load a batch grows to what arrives during one round
trip, so there is no timer and nothing to tune. A full batch does not wait for the one before
it: the receiver can work on it while the next one fills.

A batch is bounded in bytes too, and small items pay nothing for it. A batch of *limit* items has
*limit* places, and a place is for `BATCH_BYTES` / *limit* bytes. An item that fits into a place is
added without a look at its size. A larger one takes several places. Batches with large items wait
while several are under way: a connection sends one after the other, so more of them would only
fill memory and let each take longer than its time.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiostreamq import clock
from aiostreamq.aio.eager import start_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Futures = list["asyncio.Future[Answer]"]

# Bytes of the items of a batch, except that one item always goes. Less than the least query buffer
# that Redis can be set to, and well below a second on a slow network.
BATCH_BYTES = 1_000_000

# Batches with large items that may be under way: while Redis works on one, others travel.
LARGE_UNDER_WAY = 3


def small_bytes(limit: int) -> int:
    """Return how many bytes an item may have that takes one of *limit* places of a batch."""
    return BATCH_BYTES // limit


def split(
    items: "Sequence[Item]", limit: int, size_of: "Callable[[Item], int]"
) -> "Generator[Sequence[Item]]":
    """Yield *items* in batches of at most *limit*, and of about a megabyte; one item always goes.

    For calls whose items were collected before. Many make Redis copy a payload that the call does
    not contain, and the size of that counts.
    """
    start = 0
    while start < len(items):
        end, left = start + 1, BATCH_BYTES - size_of(items[start])
        while end < min(len(items), start + limit):
            left -= size_of(items[end])
            if left < 0:
                break
            end += 1
        yield items[start:end]
        start = end


class _Batching(ABC, Generic[Item]):
    """Collects items, and decides when a batch of at most *limit* of them departs."""

    def __init__(self, limit: int, large_under_way: int) -> None:
        self._limit = limit
        self._room = limit  # how many items fit, with what the large ones take beyond one place
        self._large_under_way = large_under_way
        # Batches with large items, and since when they wait.
        self._waiting: deque[tuple[partial[Coroutine[Any, Any, None]], float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._items: list[Item] = []
        self._under_way: set[asyncio.Task[None]] = set()
        # Whether the next batch departs by itself: at the end of this turn, or when one lands.
        self._is_planned = False

    async def join(self) -> None:
        """Wait until everything that was added so far has been sent.

        Cancelling is safe: the batches are still sent.
        """
        while self._under_way or self._items or self._waiting:
            if self._under_way:
                await asyncio.wait(self._under_way)
            else:
                await asyncio.sleep(0)

    @abstractmethod
    def _depart(self) -> None:
        """Send all items that were collected, as one batch."""

    def _plan(self) -> None:
        if len(self._items) >= self._room:
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

    def _make_room(self, size: int) -> None:
        """Reserve the places of an item that is added next."""
        places = min(-(-size // small_bytes(self._limit)), self._limit)
        if self._items and len(self._items) + places > self._room:
            self._depart()
        self._room -= places - 1

    def _wait_in_line(self, sending: "partial[Coroutine[Any, Any, None]]") -> None:
        """Send a batch that has large items, or is behind one, in its turn."""
        self._room = self._limit
        self._waiting.append((sending, clock.monotonic()))
        self._depart_waiting()

    def _depart_waiting(self) -> None:
        while self._waiting and len(self._under_way) < self._large_under_way:
            self._start(self._waiting.popleft()[0]())

    def _start(self, sending: "Coroutine[object, object, None]") -> None:
        task = start_task(sending, self._loop)
        self._under_way.add(task)
        self._is_planned = True
        task.add_done_callback(self._land)

    def _land(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._depart_waiting()
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
        self,
        send: "Callable[[list[Item]], Coroutine[Any, Any, None]]",
        limit: int,
        *,
        large_under_way: int = LARGE_UNDER_WAY,
    ) -> None:
        super().__init__(limit, large_under_way)
        self._send = send

    def add(self, item: Item) -> None:
        """Send *item* with the next batch."""
        self._items.append(item)
        if not self._is_planned or len(self._items) >= self._room:
            self._plan()

    def add_large(self, item: Item, size: int) -> None:
        """Send *item*, which has more than `small_bytes(limit)`, with the next batch."""
        self._make_room(size)
        self.add(item)

    def _depart(self) -> None:
        batch, self._items = self._items, []
        if self._room == self._limit and not self._waiting:
            self._start(self._send(batch))
        else:
            self._wait_in_line(partial(self._send, batch))


class GroupCall(_Batching[Item], Generic[Item, Answer]):
    """Collects items as `GroupCommit` does, and gives each a future for its answer.

    *send* handles one batch, given its items and their futures. It ends each future that is not
    done, and does not raise.
    """

    def __init__(
        self,
        send: "Callable[[list[Item], Futures[Answer]], Coroutine[Any, Any, None]]",
        limit: int,
        *,
        large_under_way: int = LARGE_UNDER_WAY,
    ) -> None:
        super().__init__(limit, large_under_way)
        self._send = send
        # Beside the items: a pair for each would be one more object that the garbage collector
        # visits for each waiting call, and gathered calls wait by the thousand.
        self._futures: Futures[Answer] = []

    def put(self, item: Item) -> "asyncio.Future[Answer]":
        """Send *item* with the next batch; return the future of its answer."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._items.append(item)
        self._futures.append(future)
        if not self._is_planned or len(self._items) >= self._room:
            self._plan()
        return future

    def put_large(self, item: Item, size: int) -> "asyncio.Future[Answer]":
        """Send *item*, which has more than `small_bytes(limit)`, as `put` does."""
        self._make_room(size)
        return self.put(item)

    def take_overdue(self, seconds: float) -> "tuple[list[Item], Futures[Answer]]":
        """Take out the items, with their futures, that have waited longer for other batches."""
        items: list[Item] = []
        futures: Futures[Answer] = []
        while self._waiting and self._waiting[0][1] + seconds <= clock.monotonic():
            batch, its_futures = self._waiting.popleft()[0].args
            items += batch
            futures += its_futures
        return items, futures

    def _depart(self) -> None:
        batch, self._items = self._items, []
        futures, self._futures = self._futures, []
        if self._room == self._limit and not self._waiting:
            self._start(self._send(batch, futures))
        else:
            self._wait_in_line(partial(self._send, batch, futures))
