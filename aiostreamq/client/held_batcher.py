"""Batches of enqueues of jobs whose tasks have limits."""

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, cast

from aiostreamq.client.enqueue_batcher import EnqueueBatcher
from aiostreamq.client.oversize import send_halves
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.enqueue import Refusals
from aiostreamq.store.held import HeldJobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import HeldSubmission, Submission


class HeldBatcher(EnqueueBatcher):
    """Enqueues the jobs of one durability that have limits, in batches over one connection.

    Its callers give it each `HeldSubmission` as a `Submission`. Held jobs are in no lane, whose
    bounds therefore do not count for them.
    """

    @cached_property
    def _held(self) -> HeldJobs:
        return HeldJobs(self._store)

    async def _send(self, jobs: "Sequence[Submission]") -> Refusals:
        return await self._send_bounded(jobs)

    async def _send_bounded(
        self, jobs: "Sequence[Submission]", waited_ms: int | None = None
    ) -> Refusals:
        del waited_ms  # there is always room
        return await self._send_held(jobs)

    async def _send_held(self, jobs: "Sequence[Submission]") -> Refusals:
        link, held = self._link(), cast("Sequence[HeldSubmission]", jobs)
        try:
            taken = await self._held.enqueue(held, self._inbox, self._timeout, self.confirmed)
        except CallTooLarge as error:
            return await send_halves(jobs, self._send_held, error)
        return Refusals(taken, set(), self._link() == link)


class OrderedBatcher(HeldBatcher):
    """Enqueues the jobs of one durability that have an order: a batch goes when the last one is in.

    With several under way, one that is repeated after the loss of a connection would come in later
    than its next.
    """

    must_be_alone = True

    @cached_property
    def _turn(self) -> asyncio.Lock:  # those that wait for it get it in their order
        return asyncio.Lock()

    async def _send_bounded(
        self, jobs: "Sequence[Submission]", waited_ms: int | None = None
    ) -> Refusals:
        del waited_ms  # likewise
        async with self._turn:
            return await self._send_held(jobs)
