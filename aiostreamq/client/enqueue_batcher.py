"""Batches of enqueues: concurrent calls of one durability travel to Redis together."""

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.aio.batching import LARGE_UNDER_WAY, Futures, GroupCall
from aiostreamq.client.oversize import send_halves
from aiostreamq.errors import EnqueueNotConfirmed, QueueFull, QueueUnavailable
from aiostreamq.model.delivery import (
    DelayedSubmission,
    HeldSubmission,
    Submission,
    UniqueSubmission,
)
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.enqueue import ENQUEUE_LIMIT, IdWas, Refusals, Submissions

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence

    from aiostreamq.client.backpressure import Backpressure
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore

Item = TypeVar("Item", Submission, DelayedSubmission)

# Batches with large payloads that may wait for a confirmation: it may take a second for all.
LARGE_UNCONFIRMED = 40


class EnqueueBatcher:
    """Enqueues the jobs of one durability, in batches over one connection."""

    #: whether a batch must be in before any later call of `enqueue_many` is sent
    must_be_alone = False

    def __init__(
        self,
        store: "QueueStore",
        inbox: str,
        policy: "QueuePolicy",
        confirmed: "ConfirmedRunner | None" = None,
    ) -> None:
        """Create it.

        Args:
            store: The queue to enqueue into.
            inbox: The inbox of this process.
            policy: The limits of the queue: jobs in a lane, seconds to retry, and so on.
            confirmed: Waits until the jobs are in a second place; None waits for nothing.
        """
        self.confirmed = confirmed
        self._store = store
        self._submissions = Submissions(store, confirmed)
        self._delayed = DelayedJobs(store, confirmed)
        self._inbox = inbox
        self._policy = policy
        self._timeout = policy.enqueue_timeout
        most = LARGE_UNDER_WAY if confirmed is None else LARGE_UNCONFIRMED
        self.later = GroupCall[DelayedSubmission, IdWas](
            self._put_later, ENQUEUE_LIMIT, large_under_way=most
        )
        self.backpressure: Backpressure | None = None
        self.now: GroupCall[Submission, IdWas] | Backpressure
        if policy.waits_when_full:
            self.now = self.backpressure = self._new_backpressure()
        else:
            put = self._put_bounded if policy.is_bounded else self._put
            self.now = GroupCall[Submission, IdWas](put, ENQUEUE_LIMIT, large_under_way=most)

    def put_large(
        self,
        job: "Submission | DelayedSubmission | UniqueSubmission | HeldSubmission",
        size: int,
    ) -> "asyncio.Future[IdWas]":
        """Enqueue a job with the next batch whose payload has *size* bytes, which is many."""
        if isinstance(job[1], int):  # the place of a lane; those for later have its name
            return self.now.put_large(cast("Submission", job), size)
        return self.later.put_large(cast("DelayedSubmission", job), size)

    def _new_backpressure(self) -> "Backpressure":
        # Imported at the first use: most queues have no bounds.
        from aiostreamq.client.backpressure import Backpressure

        return Backpressure(self._send_in_turn, ENQUEUE_LIMIT)

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
        if self._policy.is_bounded:
            return await self._send_bounded(jobs)
        return await self._send(jobs)

    async def send_later(self, jobs: "Sequence[DelayedSubmission]") -> Refusals:
        """Enqueue delayed jobs."""
        link = self._link()
        try:
            taken = await self._delayed.delay(jobs, self._inbox, self._timeout)
        except CallTooLarge as error:
            return await send_halves(jobs, self.send_later, error)
        return Refusals(taken, set(), self._link() == link)

    def full(self, job: Submission, *, enqueued: int = 0) -> QueueFull:
        """Return the error for a job that found no room."""
        lane = self._store.stream_names[job[1] - 1]
        policy = self._policy
        bounds = {"max_length": policy.max_length, "max_bytes": policy.max_bytes}
        shown = ", ".join(f"{option}={most}" for option, most in bounds.items() if most)
        return QueueFull(
            f"lane {lane!r} of queue {self._store.keys.queue!r} is full ({shown}): "
            f"workers are behind; try later, start more of them, or use when_full='wait'",
            lane=lane,
            **bounds,
            enqueued=enqueued,
        )

    def _link(self) -> int:
        """Return the number of the connection in use. After a change, a job may be sent twice."""
        # The first one opens at its first use.
        return max(1, (self.confirmed or self._store).connection_count)

    async def _send(self, jobs: "Sequence[Submission]") -> Refusals:
        link = self._link()
        try:
            taken = await self._submissions.enqueue(jobs, self._inbox, self._timeout)
        except CallTooLarge as error:
            return await send_halves(jobs, self._send, error)
        return Refusals(taken, set(), self._link() == link)

    async def _send_bounded(
        self, jobs: "Sequence[Submission]", waited_ms: int | None = None
    ) -> Refusals:
        link, policy = self._link(), self._policy
        try:
            found = await self._submissions.enqueue_within(
                policy.max_length, jobs, self._inbox, self._timeout, policy.max_bytes, waited_ms
            )
        except CallTooLarge as error:
            send = partial(self._send_bounded, waited_ms=waited_ms)
            return await send_halves(jobs, send, error)
        return found._replace(is_certain=self._link() == link)

    def _send_in_turn(
        self, jobs: "Sequence[Submission]", waited: float
    ) -> "Coroutine[Any, Any, Refusals]":
        return self._send_bounded(jobs, int(waited * 1000))

    async def _put(self, batch: "list[Submission]", futures: "Futures[IdWas]") -> None:
        await self._resolve(batch, futures, self._send(batch), self.now.take_overdue)

    async def _put_later(self, batch: "list[DelayedSubmission]", futures: "Futures[IdWas]") -> None:
        await self._resolve(batch, futures, self.send_later(batch), self.later.take_overdue)

    async def _put_bounded(self, batch: "list[Submission]", futures: "Futures[IdWas]") -> None:
        await self._resolve(batch, futures, self._send_bounded(batch), self.now.take_overdue)

    async def _resolve(
        self,
        batch: "list[Item]",
        futures: "Futures[IdWas]",
        sending: "Coroutine[Any, Any, Refusals]",
        take_overdue: "Callable[[float], tuple[list[Item], Futures[IdWas]]]",
    ) -> None:
        """Await *sending*, and give each of *futures* the result or error of its job."""
        try:
            refusals = await sending
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers get it
            if isinstance(error, QueueUnavailable):
                others, their_futures = take_overdue(self._timeout)  # they have waited as long
                batch, futures = [*batch, *others], [*futures, *their_futures]
            for item, future in zip(batch, futures, strict=True):
                if not future.done():
                    future.set_exception(error_for(item, error))
            return
        taken, free = refusals.taken, IdWas.FREE
        if refusals.full or refusals.errors:
            self._refuse(batch, futures, refusals)
        for place, future in enumerate(futures):
            if not future.done():
                future.set_result(refusals.id_was(place) if place in taken else free)

    def _refuse(self, batch: "list[Item]", futures: "Futures[IdWas]", refusals: Refusals) -> None:
        """Give the futures of the jobs that were refused their errors."""
        for place in (*refusals.full, *refusals.errors):
            if not futures[place].done():
                error = refusals.errors.get(place)
                futures[place].set_exception(error or self.full(cast("Submission", batch[place])))


def error_for(item: Item, error: Exception) -> Exception:
    """Return the error for the caller of one job of a batch that failed."""
    if not isinstance(error, EnqueueNotConfirmed):
        return error
    own = EnqueueNotConfirmed(str(error), job_ids=(item[0],))
    own.__cause__ = error
    return own
