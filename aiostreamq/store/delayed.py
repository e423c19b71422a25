"""Jobs that run later: delayed first runs, and retries."""

from typing import TYPE_CHECKING, cast

from aiostreamq.aio.batching import split
from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import GROUP
from aiostreamq.store.deliveries import SETTLE_LIMIT, Deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import DelayedSubmission, Delivery
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore

# How many due jobs a call moves: some 2 ms of Redis.
PROMOTE_LIMIT = 200


class DelayedJobs:
    """The jobs that one queue keeps until they are due."""

    def __init__(self, queue: "QueueStore", confirmed: "ConfirmedRunner | None" = None) -> None:
        """Prepare.

        Args:
            queue: The queue.
            confirmed: Runs `delay` and waits for its writes; None waits for nothing.
        """
        self._queue = queue
        self._confirmed = confirmed
        self._deliveries = Deliveries(queue)
        self._prefix = queue.keys.prefix
        self._keys = [queue.keys.delayed, queue.keys.control]

    async def delay(
        self, jobs: "Sequence[DelayedSubmission]", inbox: str, deadline: float
    ) -> "set[int]":
        """Keep *jobs* for later; return the places (from 0) of those whose id was taken.

        Raises:
            QueueUnavailable: *deadline* seconds have passed; each job may or may not be in.
            EnqueueNotConfirmed: The jobs are in, but *deadline* passed before a confirmation.
            BrokerError: Redis refused.
        """
        arguments: list[Argument] = [self._prefix, inbox]
        for job in jobs:
            arguments += job
        if self._confirmed is None:
            reply = await self._queue.run("enqueue_delayed", self._keys, arguments, deadline)
        else:
            reply = await self._confirmed.run(
                "enqueue_delayed", self._keys, arguments, deadline, len(jobs)
            )
        return {place - 1 for place in cast("list[int]", reply)}

    async def retry(self, batch: "Sequence[RetryRequest]") -> "list[Delivery]":
        """End deliveries whose jobs run again; return those that were refused.

        If an entry was deleted while its worker had it, the job is written again from the delivery.
        """
        keys = [*self._keys, *self._queue.streams]
        refused: list[RetryRequest] = []
        for some in split(batch, SETTLE_LIMIT, lambda one: len(one.delivery.envelope)):
            arguments: list[Argument] = [GROUP, self._prefix]
            for delivery, delay_ms in some:
                arguments += delivery[:4]  # stream, entry, job id, number
                arguments += (delivery.attempt, delay_ms)
            places = cast("list[int]", await self._queue.run("retry", keys, arguments))
            refused += [some[place - 1] for place in places]
        if not refused:
            return []
        # Only now with their payloads, which are long and hardly ever needed.
        kept = await self._deliveries.requeue_deleted([_next_attempt(one) for one in refused])
        return [refused[place].delivery for place in kept]

    async def promote(self) -> "tuple[int, float | None]":
        """Put the jobs that are due into their streams.

        Returns:
            How many were moved, and the seconds until the next is due: 0 if more are due
            already, None if no job is delayed.
        """
        arguments: list[Argument] = [self._prefix, PROMOTE_LIMIT]
        found = await self._queue.run("promote", self._keys[:1], arguments)
        moved, wait_ms, now_ms = cast("list[int]", found)
        self._queue.clock.set(now_ms)
        return moved, None if wait_ms < 0 else wait_ms / 1000


def _next_attempt(one: RetryRequest) -> RetryRequest:
    following = one.delivery._replace(attempt=one.delivery.attempt + 1)
    return RetryRequest(following, one.delay_ms)
