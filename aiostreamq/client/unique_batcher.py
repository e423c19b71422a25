"""Batches of enqueues of jobs that have keys."""

from functools import cached_property
from typing import TYPE_CHECKING, cast

from aiostreamq.client.enqueue_batcher import EnqueueBatcher
from aiostreamq.client.oversize import send_halves
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.unique import UniqueSubmissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Submission, UniqueSubmission
    from aiostreamq.store.enqueue import Refusals


class UniqueBatcher(EnqueueBatcher):
    """Enqueues the jobs of one durability that have keys, in batches over one connection.

    Its callers give it each `UniqueSubmission` as a `Submission`. The bounds of lanes hold for
    these as for other jobs.
    """

    @cached_property
    def _unique(self) -> UniqueSubmissions:
        return UniqueSubmissions(self._store, self.confirmed)

    async def _send(self, jobs: "Sequence[Submission]") -> "Refusals":
        return await self._send_bounded(jobs)

    async def _send_bounded(
        self, jobs: "Sequence[Submission]", waited_ms: int | None = None
    ) -> "Refusals":
        link, keyed = self._link(), cast("Sequence[UniqueSubmission]", jobs)
        try:
            found = await self._unique.enqueue(keyed, self._inbox, self._policy, waited_ms)
        except CallTooLarge as error:
            return await send_halves(jobs, self._send, error)
        return found._replace(is_certain=self._link() == link)
