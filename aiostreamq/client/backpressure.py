"""Backpressure: calls wait for room in lanes of bounded length, in their order.

Only for `Queue(max_length=..., when_full="wait")`. Redis does not notify clients of room in
a lane, so the calls are retried, with pauses that grow while the lane is full.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiostreamq.aio.backoff import Backoff
from aiostreamq.aio.batching import BATCH_BYTES
from aiostreamq.aio.wakeup import wait_for_event
from aiostreamq.errors import PayloadError, QueueUnavailable
from aiostreamq.model.delivery import Submission
from aiostreamq.store.enqueue import IdWas, Refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiostreamq.aio.batching import Futures

Waiting = tuple[Submission, "asyncio.Future[IdWas]"]

# Seconds between two tries while a lane is full. Room stays unused for that long at most, and
# an idle producer asks Redis that often. With ten producers and room for 20 short jobs, a longest
# pause of a second took up to twice the time that a lane without a limit takes; this takes 1.2.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.2


class Backpressure:
    """The jobs that wait for room, one command at a time for each lane.

    With two commands in flight, the second could overtake the first.
    """

    def __init__(
        self, send: "Callable[[Sequence[Submission]], Awaitable[Refusals]]", limit: int
    ) -> None:
        """Create it.

        Args:
            send: Enqueues the jobs that find room, and returns which did not.
            limit: The most jobs that one command may carry.
        """
        self._send = send
        self._limit = limit
        self._queues: dict[int, deque[Waiting]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def put(self, item: Submission) -> "asyncio.Future[IdWas]":
        """Add a job after those that came before; return a future that is done when it is in."""
        future: asyncio.Future[IdWas] = asyncio.get_running_loop().create_future()
        lane = item[1]
        queue = self._queues.setdefault(lane, deque())
        queue.append((item, future))
        if lane not in self._running:
            self._running[lane] = asyncio.create_task(self._run(lane, queue))
        return future

    def put_large(self, item: Submission, size: int) -> "asyncio.Future[IdWas]":
        """Add a job whose payload has *size* bytes, which is many."""
        del size  # it is looked at when the job is sent, as it may be sent again
        return self.put(item)

    def take_overdue(self, seconds: float) -> "tuple[list[Submission], Futures[IdWas]]":
        """Return nothing: what waits here waits for room, however long that takes."""
        del seconds
        return [], []

    async def put_all(self, items: "Sequence[Submission]") -> Refusals:
        """Enqueue jobs and wait until all are in their lanes.

        Cancelling is safe: the jobs that still wait are not enqueued.
        """
        found = await asyncio.gather(*map(self.put, items), return_exceptions=True)
        taken: set[int] = set()
        too_large: dict[int, PayloadError] = {}
        for place, answer in enumerate(found):
            if isinstance(answer, PayloadError):
                too_large[place] = answer
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                taken.add(place)
        return Refusals(taken, set(), IdWas.DOUBTFUL not in found, too_large)

    async def join(self) -> None:
        """Send the waiting jobs once more, and fail those that find no room."""
        self._closing.set()
        while self._running:
            await asyncio.wait(self._running.values())
        self._closing.clear()

    async def _run(self, lane: int, queue: "deque[Waiting]") -> None:
        backoff, size = Backoff(FIRST_PAUSE, LONGEST_PAUSE), self._limit
        try:
            while batch := _take(queue, size):
                left = await self._try(batch, queue)
                queue.extendleft(reversed(left))
                if not left:
                    backoff.reset()
                    size = min(2 * size, self._limit)
                    continue
                if self._closing.is_set():
                    _fail(queue)
                    continue
                # Send fewer jobs if few find room: each try sends them over the wire again.
                enqueued = len(batch) - len(left)
                size = max(1, enqueued)
                if enqueued:
                    backoff.reset()
                await wait_for_event(self._closing, backoff.next())
        finally:
            del self._running[lane]

    async def _try(self, batch: "list[Waiting]", behind: "deque[Waiting]") -> "list[Waiting]":
        """Send a batch; return the jobs that found no room.

        If Redis is away, the jobs *behind* it that were there from the start fail as well: they
        have waited as long. One after the other, each batch would take the whole time-out again.
        """
        waited = len(behind)
        try:
            refusals = await self._send([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it
            if isinstance(error, QueueUnavailable):
                batch += [behind.popleft() for _ in range(waited)]
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return []
        for place, (_, future) in enumerate(batch):
            if place in refusals.full or future.done():
                continue
            if place in refusals.too_large:
                future.set_exception(refusals.too_large[place])
            else:
                future.set_result(refusals.id_was(place))
        return [batch[place] for place in sorted(refusals.full)]


def _take(queue: "deque[Waiting]", size: int) -> "list[Waiting]":
    """Take up to *size* jobs whose callers still wait, with payloads for one command."""
    batch: list[Waiting] = []
    size_bytes = 0
    while queue and len(batch) < size:
        (*_, envelope), future = queue[0]
        size_bytes += len(envelope)
        if batch and size_bytes > BATCH_BYTES:
            break
        waiting = queue.popleft()
        if not future.done():
            batch.append(waiting)
    return batch


def _fail(queue: "deque[Waiting]") -> None:
    while queue:
        _, future = queue.popleft()
        if not future.done():
            future.set_exception(
                QueueUnavailable(
                    "the queue was closed while this job waited for room in its lane: it was not "
                    "enqueued"
                )
            )
