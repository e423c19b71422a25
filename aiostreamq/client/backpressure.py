"""Waiting for room in lanes of bounded length, in the order of the calls.

Only for `Queue(max_length=..., when_full="wait")`. Redis has nobody to wake for room,
so it is asked again and again, with pauses that grow while there is none.
"""

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING

from aiostreamq.errors import QueueUnavailable
from aiostreamq.model.delivery import Submission
from aiostreamq.store.enqueue import IdWas, Refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Waiting = tuple[Submission, "asyncio.Future[IdWas]"]

# Seconds between two tries while there is no room: what room is left unused, and
# how often an idle producer asks.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


class Backpressure:
    """Lets jobs into their lanes as room comes, one call at a time for each lane.

    A second call under way could overtake the first, when room comes between them.
    """

    def __init__(
        self, send: "Callable[[Sequence[Submission]], Awaitable[Refusals]]", limit: int
    ) -> None:
        """Open one.

        Args:
            send: Puts jobs in as far as there is room.
            limit: How many jobs one call may have.
        """
        self._send = send
        self._limit = limit
        self._queues: dict[int, deque[Waiting]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def add(self, waiting: Waiting) -> None:
        """Take a job in after those that came before."""
        lane = waiting[0][1]
        queue = self._queues.setdefault(lane, deque())
        queue.append(waiting)
        if lane not in self._running:
            self._running[lane] = asyncio.create_task(self._run(lane, queue))

    async def put(self, items: "Sequence[Submission]") -> Refusals:
        """Take jobs in and wait until all are.

        Cancelling is safe: those that still wait are not put in.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[IdWas]] = [loop.create_future() for _ in items]
        for waiting in zip(items, futures, strict=True):
            self.add(waiting)
        found = await asyncio.gather(*futures)
        taken = {place for place, id_was in enumerate(found) if id_was}
        return Refusals(taken, set(), IdWas.DOUBTFUL not in found)

    async def join(self) -> None:
        """Send what there is once more, and give up what finds no room then."""
        self._closing.set()
        while self._running:
            await asyncio.wait(self._running.values())
        self._closing.clear()

    async def _run(self, lane: int, queue: "deque[Waiting]") -> None:
        pause, size = FIRST_PAUSE, self._limit
        try:
            while batch := _take(queue, size):
                left = await self._try(batch)
                queue.extendleft(reversed(left))
                if not left:
                    pause, size = FIRST_PAUSE, min(2 * size, self._limit)
                    continue
                if self._closing.is_set():
                    _fail(queue)
                    continue
                # Send little where little finds room: it goes over the wire each time.
                came_in = len(batch) - len(left)
                size = max(1, came_in)
                pause = FIRST_PAUSE if came_in else min(2 * pause, LONGEST_PAUSE)
                await self._rest(pause)
        finally:
            del self._running[lane]

    async def _try(self, batch: "list[Waiting]") -> "list[Waiting]":
        """Send a batch; returns those that found no room."""
        try:
            refusals = await self._send([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the callers
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return []
        for place, (_, future) in enumerate(batch):
            if place not in refusals.full and not future.done():
                future.set_result(refusals.id_was(place))
        return [batch[place] for place in sorted(refusals.full)]

    async def _rest(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause * (0.5 + random.random())):
                await self._closing.wait()
        except TimeoutError:
            pass


def _take(queue: "deque[Waiting]", size: int) -> "list[Waiting]":
    """Take up to *size* of those whose callers still wait."""
    batch: list[Waiting] = []
    while queue and len(batch) < size:
        waiting = queue.popleft()
        if not waiting[1].done():
            batch.append(waiting)
    return batch


def _fail(queue: "deque[Waiting]") -> None:
    while queue:
        _, future = queue.popleft()
        if not future.done():
            future.set_exception(
                QueueUnavailable(
                    "the queue was closed while this waited for room in its lane: nothing was "
                    "enqueued"
                )
            )
