"""Batches of enqueues: concurrent calls of one durability travel to Redis together."""

from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.aio.batching import Futures, GroupCall
from aiostreamq.client.backpressure import Backpressure
from aiostreamq.errors import EnqueueNotConfirmed, QueueFull
from aiostreamq.model.delivery import DelayedSubmission, Submission
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.enqueue import ENQUEUE_LIMIT, IdWas, Refusals, Submissions

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore

Item = TypeVar("Item", Submission, DelayedSubmission)


class EnqueueBatcher:
    """Enqueues the jobs of one durability, in batches over one connection."""

    def __init__(
        self,
        broker: "QueueStore",
        inbox: str,
        policy: "QueuePolicy",
        confirmed: "ConfirmedRunner | None" = None,
    ) -> None:
        """Create it.

        Args:
            broker: The queue to enqueue into.
            inbox: The inbox of this process.
            policy: The limits of the queue: jobs in a lane, seconds to retry, and so on.
            confirmed: Waits until the jobs are in a second place; None waits for nothing.
        """
        self.confirmed = confirmed
        self._broker = broker
        self._submissions = Submissions(broker, confirmed)
        self._delayed = DelayedJobs(broker, confirmed)
        self._inbox = inbox
        self._policy = policy
        self._timeout = policy.enqueue_timeout
        self.later = GroupCall[DelayedSubmission, IdWas](self._put_later, ENQUEUE_LIMIT)
        self.backpressure: Backpressure | None = None
        self.now: GroupCall[Submission, IdWas] | Backpressure
        if policy.waits_when_full:
            self.now = self.backpressure = Backpressure(self._send_bounded, ENQUEUE_LIMIT)
        else:
            put = self._put_bounded if policy.max_length else self._put
            self.now = GroupCall[Submission, IdWas](put, ENQUEUE_LIMIT)

    async def join(self) -> None:
        """Wait until all that was enqueued so far has been sent. Cancelling is safe."""
        await self.now.join()
        await self.later.join()

    async def send(self, jobs: "Sequence[Submission]") -> Refusals:
        """Enqueue jobs; if the queue waits for room, none is refused for lack of it.

        If this is cancelled, the jobs may or may not be enqueued, but none will be later.
        """
        if self.backpressure is not None:
            return await self.backpressure.put_all(jobs)
        if self._policy.max_length:
            return await self._send_bounded(jobs)
        return await self._send(jobs)

    async def send_later(self, jobs: "Sequence[DelayedSubmission]") -> Refusals:
        """Enqueue delayed jobs."""
        link = self._link()
        taken = await self._delayed.delay(jobs, self._inbox, self._timeout)
        return Refusals(taken, set(), self._link() == link)

    def full(self, job: Submission, *, enqueued: int = 0) -> QueueFull:
        """Return the error for a job that found no room."""
        lane = self._broker.stream_names[job[1] - 1]
        most = self._policy.max_length
        return QueueFull(
            f"lane {lane!r} of queue {self._broker.keys.queue!r} is full (max_length={most}): "
            f"workers are behind; try later, start more of them, or use when_full='wait'",
            lane=lane,
            max_length=most,
            enqueued=enqueued,
        )

    def _link(self) -> int:
        """Return the number of the connection in use. After a change, a job may be sent twice."""
        # The first one opens at its first use.
        return max(1, (self.confirmed or self._broker).connection_count)

    async def _send(self, jobs: "Sequence[Submission]") -> Refusals:
        link = self._link()
        taken = await self._submissions.enqueue(jobs, self._inbox, self._timeout)
        return Refusals(taken, set(), self._link() == link)

    async def _send_bounded(self, jobs: "Sequence[Submission]") -> Refusals:
        link, most = self._link(), self._policy.max_length
        found = await self._submissions.enqueue_within(most, jobs, self._inbox, self._timeout)
        return found._replace(is_certain=self._link() == link)

    async def _put(self, batch: "list[Submission]", futures: "Futures[IdWas]") -> None:
        await _resolve(batch, futures, self._send(batch))

    async def _put_later(self, batch: "list[DelayedSubmission]", futures: "Futures[IdWas]") -> None:
        await _resolve(batch, futures, self.send_later(batch))

    async def _put_bounded(self, batch: "list[Submission]", futures: "Futures[IdWas]") -> None:
        await _resolve(batch, futures, self._put_within_room(batch, futures))

    async def _put_within_room(
        self, batch: "list[Submission]", futures: "Futures[IdWas]"
    ) -> Refusals:
        refusals = await self._send_bounded(batch)
        for place in refusals.full:
            if not futures[place].done():
                futures[place].set_exception(self.full(batch[place]))
        return refusals


async def _resolve(
    batch: "list[Item]", futures: "Futures[IdWas]", sending: "Coroutine[Any, Any, Refusals]"
) -> None:
    """Await *sending*, and give each of *futures* the result or error of its job."""
    try:
        refusals = await sending
    except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it
        for item, future in zip(batch, futures, strict=True):
            if not future.done():
                future.set_exception(error_for(item, error))
        return
    taken, free = refusals.taken, IdWas.FREE
    for place, future in enumerate(futures):
        if not future.done():
            future.set_result(refusals.id_was(place) if place in taken else free)


def error_for(item: Item, error: Exception) -> Exception:
    """Return the error for the caller of one job of a batch that failed."""
    if not isinstance(error, EnqueueNotConfirmed):
        return error
    own = EnqueueNotConfirmed(str(error), job_ids=(item[0],))
    own.__cause__ = error
    return own
