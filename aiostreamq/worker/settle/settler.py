"""The ends of jobs, sent to Redis."""

import asyncio
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from aiostreamq.aio.batching import GroupCommit, small_bytes
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import Delivery, EntryRef, RetryRequest, Settlement
from aiostreamq.model.english import counted
from aiostreamq.model.outcome import signature_of, signed
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.deliveries import SETTLE_LIMIT, Deliveries
from aiostreamq.store.results import Results
from aiostreamq.worker.refused_batches import RefusedBatches
from aiostreamq.worker.settle.too_large import replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostreamq.store.delayed import DelayedJobs
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.listener_events import WorkerListeners
    from aiostreamq.worker.protocols import ResultMeter

# Seconds that the counters may lag. Sent with each single job, they would add a seventh to the time
# of a round trip.
COUNT_EVERY = 0.1

# Bytes of an outcome up to which its size does not matter.
SMALL = small_bytes(SETTLE_LIMIT)

logger = get_logger("aiostreamq.worker")


class Settler:
    """Settles in batches, and keeps at it until Redis has answered.

    It has attributes for three kinds of batches: ends, retries and counts. Each has what was
    refused, or waits.
    """

    def __init__(
        self,
        store: "QueueStore",
        delayed: "DelayedJobs",
        worker: str,
        accepted: "Callable[[], None]",
        listeners: "WorkerListeners",
        held: "ResultMeter",
    ) -> None:
        """Prepare to settle.

        Args:
            store: The queue.
            delayed: Takes the jobs to be retried.
            worker: The name of the worker.
            accepted: Called when Redis has accepted all that it had refused.
            listeners: Take the outcomes that are refused because the job was lost.
            held: Learns the sizes of large outcomes until Redis has them.
        """
        self._deliveries = Deliveries(store)
        self._results = Results(store)
        self._delayed = delayed
        self._worker = worker
        self._listeners = listeners
        self._held = held
        self._signature = signature_of(worker)
        self._refused_ends = RefusedBatches[Settlement]("outcomes", self._settle, accepted)
        self._refused_retrials = RefusedBatches[RetryRequest]("retries", self._send_again, accepted)
        self._ends = GroupCommit[Settlement](self._refused_ends.send, SETTLE_LIMIT)
        self._retrials = GroupCommit[RetryRequest](self._refused_retrials.send, SETTLE_LIMIT)
        self._counts = GroupCommit[list[Settlement]](self._count, SETTLE_LIMIT)
        self._uncounted: list[Settlement] = []
        self._counted = 0  # how often counts were sent
        self._alarm: asyncio.TimerHandle | None = None  # while counts wait to be sent
        #: whose end is on its way, or was refused so far
        self.unsettled: set[EntryRef] = set()

    def settle(self, settlement: Settlement) -> None:
        """Take the end of a job along with the next batch."""
        delivery = settlement.delivery
        self.unsettled.add(delivery[:2])
        # Only a job that was delivered before may have an owner that does not know it has lost it.
        if delivery.number > 1 and settlement.outcome:
            outcome = signed(settlement.outcome, self._signature)
            settlement = settlement._replace(outcome=outcome)
        size = len(settlement.outcome)
        if size > SMALL:
            self._held.add_result(size)
        if settlement.callback is not None:
            size += len(settlement.callback.job)
        if settlement.is_dead:  # Redis copies the payload
            size += len(delivery.envelope)
        if size > SMALL:
            self._ends.add_large(settlement, size)
        else:
            self._ends.add(settlement)

    def retry(self, retrial: RetryRequest) -> None:
        """Take a job that is to run again along with the next batch."""
        self.unsettled.add(retrial.delivery[:2])
        self._retrials.add(retrial)

    @property
    def refused(self) -> int:
        """How many ends Redis has refused so far."""
        return self._refused_ends.refused + self._refused_retrials.refused

    async def join(self) -> None:
        """Wait until all is settled, or refused once more. Cancelling is safe."""
        await self._ends.join()
        await self._retrials.join()
        await self._refused_ends.try_again()  # why some is refused has been logged
        await self._refused_retrials.try_again()
        self._send_counts()
        await self._counts.join()

    def close(self) -> None:
        """Try no more to settle what is refused: others will run those jobs."""
        self._refused_ends.close()
        self._refused_retrials.close()

    async def _settle(self, batch: list[Settlement]) -> None:
        try:
            settled = await self._deliveries.settle(batch, self._worker)
        except CallTooLarge as error:
            await self._settle_apart(batch, error)
            return
        if self._held.unsettled:
            sizes = [len(one.outcome) for one in batch]
            self._held.remove_result(sum(size for size in sizes if size > SMALL))
        await self._note_done([s.delivery for s in batch], settled.refused)
        if settled.ended:
            self._note(settled.ended)

    async def _settle_apart(self, batch: list[Settlement], refusal: CallTooLarge) -> None:
        """Settle in halves what Redis has refused for its size, down to the one that is too large.

        Raises:
            CallTooLarge: Redis has refused one for another reason.
        """
        middle = len(batch) // 2
        if middle:
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])
        else:
            end = replaced(batch[0], refusal, self._signature)
            self._held.remove_result(len(batch[0].outcome))
            await self._settle([end])

    def _note(self, ended: "Sequence[Settlement]") -> None:
        self._uncounted += ended
        if len(self._uncounted) >= SETTLE_LIMIT:
            self._send_counts()
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(COUNT_EVERY, self._send_counts)

    def _send_counts(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._uncounted:
            self._counts.add(self._uncounted)
            self._uncounted = []

    async def _count(self, batches: list[list[Settlement]]) -> None:
        ended = list(chain.from_iterable(batches))
        try:
            for start in range(0, len(ended), SETTLE_LIMIT):
                self._counted += 1
                some = ended[start : start + SETTLE_LIMIT]
                await self._deliveries.record_stats(some, self._worker, self._counted)
        except AioStreamQError as error:
            jobs = counted(len(ended), "job")
            logger.warning("how %s ended is not in the counters: %s", jobs, error)

    async def _send_again(self, batch: list[RetryRequest]) -> None:
        await self._note_done([r.delivery for r in batch], await self._delayed.retry(batch))

    async def _note_done(self, batch: list[Delivery], lost: list[Delivery]) -> None:
        if lost:
            await self._report_lost(lost)
        self.unsettled.difference_update([delivery[:2] for delivery in batch])

    async def _report_lost(self, lost: list[Delivery]) -> None:
        for delivery in lost:
            if self._listeners.is_heard:
                from aiostreamq.model.listener_events import OutcomeRefused

                self._listeners.report(OutcomeRefused, delivery.job_id, delivery.attempt)
            logger.warning(
                "outcome refused: worker %s had lost the job, %s",
                self._worker,
                await self._fate_of(delivery.job_id),
                extra={
                    "job_id": delivery.job_id,
                    "attempt": delivery.attempt,
                    "worker": self._worker,
                },
            )

    async def _fate_of(self, job_id: str) -> str:
        with suppress(AioStreamQError):  # not worth more than being asked once
            if owner := await self._results.owner_of(job_id):
                return f"worker {owner} has it now"
            # In this order: it may end between the two.
            if ender := await self._results.ender_of(job_id):
                return f"worker {ender} has ended it"
        return "which has ended or waits for another"
