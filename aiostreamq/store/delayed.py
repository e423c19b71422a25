"""Jobs for later: first runs that were asked for, next attempts, and those that nobody can run."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import GROUP
from aiostreamq.store.broker import SETTLE_LIMIT
from aiostreamq.store.requeue_deleted import restore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import DelayedSubmission, Delivery
    from aiostreamq.store.broker import Broker
    from aiostreamq.store.connection.link import Argument

# How many due jobs a call moves: some 2 ms of Redis.
PROMOTE_LIMIT = 200


class DelayedJobs:
    """What a queue keeps for later."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._keys = broker.keys

    async def delay(
        self, jobs: "Sequence[DelayedSubmission]", inbox: str, deadline: float
    ) -> "set[int]":
        """Keep *jobs* for later; returns the places (from 0) of ids that were taken.

        Raises:
            QueueUnavailable: *deadline* seconds have passed; each job may or may not be in.
            BrokerError: Redis refused.
        """
        arguments: list[Argument] = [self._keys.prefix, inbox]
        for job in jobs:
            arguments += job
        keys = [self._keys.delayed, self._keys.control]
        taken = await self._broker.run("delay", keys, arguments, deadline)
        return {place - 1 for place in cast("list[int]", taken)}

    async def retry(self, batch: "Sequence[RetryRequest]") -> "list[Delivery]":
        """End deliveries whose jobs run again; returns those that were refused.

        Where an entry was deleted beneath its worker the job runs again from what that holds.
        """
        arguments: list[Argument] = [GROUP, self._keys.prefix]
        for delivery, delay_ms in batch:
            arguments += delivery[:4]  # stream, entry, job id, number
            arguments += (delivery.attempt, delay_ms)
        keys = [self._keys.delayed, self._keys.control, *self._broker.streams]
        told = cast("list[int]", await self._broker.run("retry", keys, arguments))
        refused = [batch[place - 1] for place in told]
        if not refused:
            return []
        # Only now with their payloads, which are long and hardly ever needed.
        not_gone = await restore(self._broker, [_next_attempt(one) for one in refused])
        return [refused[place].delivery for place in not_gone]

    async def promote(self) -> "tuple[int, float | None]":
        """Put what is due into its streams.

        Returns how many were moved, and the seconds until the next is due: 0 where
        more is due already, None where nothing is kept.
        """
        arguments: list[Argument] = [self._keys.prefix, PROMOTE_LIMIT]
        found = await self._broker.run("promote", [self._keys.delayed], arguments)
        moved, wait_ms, now_ms = cast("list[int]", found)
        self._broker.clock.set(now_ms)
        return moved, None if wait_ms < 0 else wait_ms / 1000

    async def park(self, batch: "Sequence[tuple[Delivery, str]]") -> int:
        """Set deliveries aside until a worker knows their task (second of each pair)."""
        parked = 0
        for start in range(0, len(batch), SETTLE_LIMIT):
            arguments: list[Argument] = [GROUP, self._keys.prefix]
            some = batch[start : start + SETTLE_LIMIT]
            for delivery, task in some:
                arguments += (delivery.stream, delivery.entry, task)
            done = cast("int", await self._broker.run("park", self._broker.streams, arguments))
            if done < len(some):  # whoever gets those next parks them again
                await restore(self._broker, [RetryRequest(delivery, 0) for delivery, _ in some])
            parked += done
        return parked

    async def release(self, tasks: "Sequence[str]") -> int:
        """Let what is parked for *tasks* run; returns how many jobs that are."""
        released = 0
        while True:
            arguments: list[Argument] = [self._keys.prefix, PROMOTE_LIMIT, *tasks]
            keys = [self._broker.streams[0]]
            moved = cast("int", await self._broker.run("unpark", keys, arguments))
            released += moved
            if moved < PROMOTE_LIMIT:
                return released


def _next_attempt(one: RetryRequest) -> RetryRequest:
    following = one.delivery._replace(attempt=one.delivery.attempt + 1)
    return RetryRequest(following, one.delay_ms)
