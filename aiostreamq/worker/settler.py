"""Telling Redis how jobs ended."""

import logging
from typing import TYPE_CHECKING, Any

from aiostreamq.errors import AioStreamQError
from aiostreamq.model.delivery import Delivery, Retrial, Settlement
from aiostreamq.store.broker import SETTLE_LIMIT
from aiostreamq.store.commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiostreamq.store.broker import Broker
    from aiostreamq.store.schedule import Schedule

logger = logging.getLogger("aiostreamq.worker")


class Settler:
    """Settles in batches, and keeps at it until Redis has answered."""

    def __init__(self, broker: "Broker", schedule: "Schedule", worker: str) -> None:
        self._broker = broker
        self._schedule = schedule
        self._worker = worker
        self._ends = GroupCommit[Settlement](self._settle, SETTLE_LIMIT)
        self._retrials = GroupCommit[Retrial](self._send_again, SETTLE_LIMIT)
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

    async def _settle(self, batch: list[Settlement]) -> None:
        await self._report([s.delivery for s in batch], self._broker.settle(batch, self._worker))

    async def _send_again(self, batch: list[Retrial]) -> None:
        await self._report([r.delivery for r in batch], self._schedule.retry(batch))

    async def _report(
        self, batch: list[Delivery], settling: "Coroutine[Any, Any, list[Delivery]]"
    ) -> None:
        try:
            refused = await settling
        except AioStreamQError:
            # The jobs stay pending under this worker's name and will be run again
            # when it has ended, which is what at-least-once means. Until then they
            # stay known here: were they taken up anew, each would be run once a
            # lease for as long as its outcome is refused.
            logger.exception("%d outcomes could not be settled", len(batch))
            return
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
