"""Telling Redis how jobs ended."""

import asyncio
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.errors import AioStreamQError
from aiostreamq.model.delivery import Delivery, Retrial, Settlement
from aiostreamq.store.broker import SETTLE_LIMIT
from aiostreamq.store.commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aiostreamq.store.broker import Broker
    from aiostreamq.store.schedule import Schedule

# Seconds that the counters may be behind. Told with each lone job, they would cost a round
# trip a seventh of its time.
COUNT_EVERY = 0.1

logger = logging.getLogger("aiostreamq.worker")

T = TypeVar("T")


class Settler:
    """Settles in batches, and keeps at it until Redis has answered."""

    def __init__(self, broker: "Broker", schedule: "Schedule", worker: str) -> None:
        self._broker = broker
        self._schedule = schedule
        self._worker = worker
        self._ends = GroupCommit[Settlement](self._settle, SETTLE_LIMIT)
        self._retrials = GroupCommit[Retrial](self._send_again, SETTLE_LIMIT)
        self._counts = GroupCommit[list[Settlement]](self._count, SETTLE_LIMIT)
        self._uncounted: list[Settlement] = []
        self._counted = 0  # how often counts were sent
        self._alarm: asyncio.TimerHandle | None = None  # while counts wait to be sent
        #: whose end is on its way, or could not be told, as (place of the stream, entry)
        self.unsettled: set[tuple[int, bytes]] = set()

    def settle(self, settlement: Settlement) -> None:
        """Take the end of a job along with the next batch."""
        self.unsettled.add(settlement.delivery[:2])
        self._ends.add(settlement)

    def retry(self, retrial: Retrial) -> None:
        """Take a job that is to run again along with the next batch."""
        self.unsettled.add(retrial.delivery[:2])
        self._retrials.add(retrial)

    async def join(self) -> None:
        """Wait until all is settled. Cancelling is safe: the settling goes on."""
        await self._ends.join()
        await self._retrials.join()
        self._send_counts()
        await self._counts.join()

    async def _settle(self, batch: list[Settlement]) -> None:
        settled = await self._attempt(self._broker.settle(batch, self._worker), len(batch))
        if settled is not None:
            await self._be_done([s.delivery for s in batch], settled.refused)
            if settled.ended:
                self._note(settled.ended)

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
                await self._broker.count(some, self._worker, self._counted)
        except AioStreamQError as error:
            logger.warning("how %d jobs ended is not in the counters: %s", len(ended), error)

    async def _send_again(self, batch: list[Retrial]) -> None:
        refused = await self._attempt(self._schedule.retry(batch), len(batch))
        if refused is not None:
            await self._be_done([r.delivery for r in batch], refused)

    async def _attempt(self, settling: "Coroutine[Any, Any, T]", count: int) -> T | None:
        """Tell Redis of *count* ends; None where it would not hear of them."""
        try:
            return await settling
        except AioStreamQError:
            # The jobs stay pending under this worker's name and will be run again
            # when it has ended, which is what at-least-once means. Until then they
            # stay known here: were they taken up anew, each would be run once a
            # lease for as long as its outcome is refused.
            logger.exception("%d outcomes could not be settled", count)
            return None

    async def _be_done(self, batch: list[Delivery], refused: list[Delivery]) -> None:
        if refused:
            await self._report_refused(refused)
        self.unsettled.difference_update([delivery[:2] for delivery in batch])

    async def _report_refused(self, refused: list[Delivery]) -> None:
        for delivery in refused:
            try:
                owner = await self._broker.owner_of(delivery.job_id)
            except AioStreamQError:
                owner = None  # not worth more than the one question
            logger.warning(
                "outcome refused: worker %s had lost the job, %s",
                self._worker,
                f"worker {owner} has it now" if owner else "which has ended or waits for another",
                extra={"job_id": delivery.job_id, "attempt": delivery.attempt},
            )
