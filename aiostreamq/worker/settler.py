"""Telling Redis how jobs ended."""

import logging
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError
from aiostreamq.model.delivery import Delivery, Settlement
from aiostreamq.store.broker import SETTLE_LIMIT
from aiostreamq.store.commit import GroupCommit

if TYPE_CHECKING:
    from aiostreamq.store.broker import Broker

logger = logging.getLogger("aiostreamq.worker")


class Settler:
    """Settles in batches, and keeps at it until Redis has answered."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._commit = GroupCommit[Settlement](self._send, SETTLE_LIMIT)
        self._unsettled: set[tuple[int, bytes]] = set()

    def settle(self, settlement: Settlement) -> None:
        """Take the end of a job along with the next batch."""
        delivery = settlement.delivery
        self._unsettled.add((delivery.stream, delivery.entry))
        self._commit.add(settlement)

    def holds(self, delivery: Delivery) -> bool:
        """Whether the end of this delivery is on its way."""
        return (delivery.stream, delivery.entry) in self._unsettled

    async def join(self) -> None:
        """Wait until all is settled. Cancelling is safe: the settling goes on."""
        await self._commit.join()

    async def _send(self, batch: list[Settlement]) -> None:
        try:
            refused = await self._broker.settle(batch)
        except BrokerError:
            # The jobs stay pending under this worker's name: they will be run
            # again, which is what at-least-once means.
            logger.exception("%d outcomes could not be settled", len(batch))
            refused = []
        for delivery in refused:
            logger.warning(
                "outcome refused: the job belongs to another worker by now",
                extra={"job_id": delivery.job_id, "attempt": delivery.number},
            )
        self._unsettled.difference_update((s.delivery.stream, s.delivery.entry) for s in batch)
