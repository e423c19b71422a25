"""Parked jobs: they wait until a worker can run their task."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import GROUP
from aiostreamq.store.deliveries import SETTLE_LIMIT, Deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many jobs a call unparks: some 2 ms of Redis.
UNPARK_LIMIT = 200


class ParkedJobs:
    """The parked jobs of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._deliveries = Deliveries(queue)
        self._prefix = queue.keys.prefix

    async def park(self, batch: "Sequence[tuple[Delivery, str]]") -> int:
        """Park deliveries, each with the name of its task; return how many were still ours."""
        parked = 0
        for start in range(0, len(batch), SETTLE_LIMIT):
            arguments: list[Argument] = [GROUP, self._prefix]
            some = batch[start : start + SETTLE_LIMIT]
            for delivery, task in some:
                arguments += (delivery.stream, delivery.entry, task)
            done = cast("int", await self._queue.run("park", self._queue.streams, arguments))
            if done < len(some):  # the next worker that gets one of those parks it again
                await self._deliveries.requeue_deleted([RetryRequest(one, 0) for one, _ in some])
            parked += done
        return parked

    async def unpark(self, tasks: "Sequence[str]") -> int:
        """Put all jobs that are parked for *tasks* into their stream; return how many."""
        unparked = 0
        while True:
            arguments: list[Argument] = [self._prefix, UNPARK_LIMIT, *tasks]
            keys = [self._queue.streams[0]]
            moved = cast("int", await self._queue.run("unpark", keys, arguments))
            unparked += moved
            if moved < UNPARK_LIMIT:
                return unparked
