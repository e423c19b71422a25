"""Backpressure: calls wait for room in lanes of bounded length, in their order.

Only for `Queue(max_length=..., when_full="wait")`. Redis does not notify clients of room in
a lane, so the calls are retried. Clients stand in a line there: those whose calls have waited
longest go first. The first of the line asks often, and the others the less the further back.
"""

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq import clock
from aiostreamq.aio.batching import BATCH_BYTES
from aiostreamq.aio.wakeup import wait_for_event
from aiostreamq.errors import AioStreamQError, AlreadyEnqueued, PayloadError, QueueUnavailable
from aiostreamq.model.delivery import Submission
from aiostreamq.store.enqueue import IdWas, Refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiostreamq.aio.batching import Futures

# Seconds between two tries of the first client in the line of a full lane, which doubles while
# nothing leaves the lane. Room stays unused for that long at most.
FIRST_PAUSE = 0.01
LONGEST_FIRST_PAUSE = 0.08

# Seconds between two tries of the others: this for each client ahead. A client that does not ask
# for a second loses its place.
PAUSE_EACH = 0.01
LONGEST_PAUSE = 0.2

# One command has calls that have waited about as long: less than the first by this share of its
# wait at most, and by some milliseconds. So other clients need not wait for younger calls.
SHARE = 1 / 8
SOME_SECONDS = 0.01


class Waiting(NamedTuple):
    """A call that waits for room."""

    job: Submission
    future: "asyncio.Future[IdWas]"
    since: float  #: seconds of the monotonic clock


class Backpressure:
    """The jobs that wait for room, one command at a time for each lane.

    With two commands in flight, the second could overtake the first.
    """

    def __init__(
        self, send: "Callable[[Sequence[Submission], float], Awaitable[Refusals]]", limit: int
    ) -> None:
        """Create it.

        Args:
            send: Enqueues the jobs that find room, and returns which did not. It gets the seconds
                for which the first of them has waited, too.
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
        queue.append(Waiting(item, future, clock.monotonic()))
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

        Raises:
            QueueUnavailable: Redis was away, or the queue was closed. It has the number of jobs
                before the first that is not enqueued for certain.

        Cancelling is safe: the jobs that still wait are not enqueued.
        """
        found = await asyncio.gather(*map(self.put, items), return_exceptions=True)
        taken: set[int] = set()
        errors: dict[int, AioStreamQError] = {}
        for place, answer in enumerate(found):
            if isinstance(answer, PayloadError | AlreadyEnqueued):
                errors[place] = answer
            elif isinstance(answer, BaseException):
                if isinstance(answer, QueueUnavailable):
                    answer.enqueued = place
                raise answer
            elif answer:
                taken.add(place)
        return Refusals(taken, set(), IdWas.DOUBTFUL not in found, errors)

    async def join(self) -> None:
        """Send the waiting jobs once more, and fail those that find no room."""
        self._closing.set()
        while self._running:
            await asyncio.wait(self._running.values())
        self._closing.clear()

    async def _run(self, lane: int, queue: "deque[Waiting]") -> None:
        pauses, size = _Pauses(), self._limit
        try:
            while batch := _take(queue, size):
                left, ahead = await self._try(batch, queue)
                queue.extendleft(reversed(left))
                if not left:
                    pauses.reset()
                    size = min(2 * size, self._limit)
                    continue
                if self._closing.is_set():
                    _fail(queue)
                    continue
                # Send fewer jobs if few find room: each try sends them over the wire again.
                enqueued = len(batch) - len(left)
                size = max(1, enqueued)
                if enqueued:
                    pauses.reset()
                await wait_for_event(self._closing, pauses.next(ahead))
        finally:
            del self._running[lane]

    async def _try(
        self, batch: "list[Waiting]", behind: "deque[Waiting]"
    ) -> "tuple[list[Waiting], int]":
        """Send a batch; return the jobs that found no room, and how many clients are ahead.

        If Redis is away, the jobs *behind* it that were there from the start fail as well: they
        have waited as long. One after the other, each batch would take the whole time-out again.
        """
        waited = len(behind)
        try:
            refusals = await self._send(
                [one.job for one in batch], clock.monotonic() - batch[0].since
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it
            if isinstance(error, QueueUnavailable):
                batch += [behind.popleft() for _ in range(waited)]
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error)
            return [], 0
        for place, one in enumerate(batch):
            if place in refusals.full or one.future.done():
                continue
            if place in refusals.errors:
                one.future.set_exception(refusals.errors[place])
            else:
                one.future.set_result(refusals.id_was(place))
        return [batch[place] for place in sorted(refusals.full)], refusals.ahead


class _Pauses:
    """The pauses of one client between two tries. Each is drawn at random around its length."""

    def __init__(self) -> None:
        self._first = FIRST_PAUSE

    def reset(self) -> None:
        """Begin again with the shortest: something found room."""
        self._first = FIRST_PAUSE

    def next(self, ahead: int) -> float:
        """Return the seconds of the next pause, for a client with *ahead* others before it."""
        length = self._first
        if ahead:
            length = min(FIRST_PAUSE + PAUSE_EACH * ahead, LONGEST_PAUSE)
        else:
            self._first = min(2 * self._first, LONGEST_FIRST_PAUSE)
        return length * (0.5 + random.random())


def _take(queue: "deque[Waiting]", size: int) -> "list[Waiting]":
    """Take up to *size* jobs whose callers still wait, with payloads for one command.

    They have waited about as long as the first of them.
    """
    batch: list[Waiting] = []
    size_bytes, until = 0, 0.0
    while queue and len(batch) < size:
        job, future, since = queue[0]
        size_bytes += len(job[-1])
        if batch and (size_bytes > BATCH_BYTES or since > until):
            break
        waiting = queue.popleft()
        if not future.done():
            if not batch:
                until = since + SHARE * (clock.monotonic() - since) + SOME_SECONDS
            batch.append(waiting)
    return batch


def _fail(queue: "deque[Waiting]") -> None:
    while queue:
        future = queue.popleft().future
        if not future.done():
            future.set_exception(
                QueueUnavailable(
                    "the queue was closed while this job waited for room in its lane: it was not "
                    "enqueued"
                )
            )
