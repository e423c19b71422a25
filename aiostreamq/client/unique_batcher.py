"""Batches of enqueues of jobs that have keys."""

from typing import TYPE_CHECKING, cast

from aiostreamq.client.enqueue_batcher import EnqueueBatcher
from aiostreamq.client.oversize import send_halves
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.unique import UniqueSubmissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Submission, UniqueSubmission
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.enqueue import Refusals
    from aiostreamq.store.queue import QueueStore


class UniqueBatcher(EnqueueBatcher):
    """Enqueues the jobs of one durability that have keys, in batches over one connection.

    Its callers give it each `UniqueSubmission` as a `Submission`.
    """

    def __init__(
        self,
        store: "QueueStore",
        inbox: str,
        policy: "QueuePolicy",
        confirmed: "ConfirmedRunner | None" = None,
    ) -> None:
        """Create it, as an `EnqueueBatcher`."""
        super().__init__(store, inbox, policy, confirmed)
        self._unique = UniqueSubmissions(store, confirmed)

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
