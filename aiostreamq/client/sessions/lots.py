"""The calls of `enqueue_many` as they are sent: in lots, which go out together."""

from typing import TYPE_CHECKING, cast

from aiostreamq.errors import EnqueueNotConfirmed, QueueUnavailable
from aiostreamq.model.delivery import (
    DelayedSubmission,
    HeldSubmission,
    Submission,
    UniqueSubmission,
)
from aiostreamq.model.english import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiostreamq.client.enqueue_batcher import EnqueueBatcher
    from aiostreamq.client.job import Job
    from aiostreamq.errors import QueueFull
    from aiostreamq.store.enqueue import Refusals

#: The submission of one call, which goes to Redis, and the handle of its job.
Item = Submission | DelayedSubmission | UniqueSubmission | HeldSubmission
Prepared = tuple[Item, "Job[object]"]


class Lot:
    """The jobs of a chunk that one command enqueues: of one durability, delayed or not."""

    def __init__(self, batcher: "EnqueueBatcher", *, is_delayed: bool) -> None:
        self._batcher = batcher
        self._is_delayed = is_delayed
        self.items: list[Item] = []
        self.positions: list[int] = []  #: the position of each among all calls
        #: the task and lane of each, if anything listens. Not its call, which holds the arguments
        self.reports: list[tuple[str, str]] = []
        #: the place in `items`, and the handle, of each job whose id the caller chose
        self.chosen_ids: list[tuple[int, Job[object]]] = []

    @property
    def must_be_alone(self) -> bool:
        """Whether its jobs must be in before later ones are sent, and after earlier ones."""
        return self._batcher.must_be_alone

    async def send(self) -> "Refusals":
        """Enqueue the jobs.

        Raises:
            EnqueueNotConfirmed: They were not confirmed in time. The error has all their ids.
        """
        try:
            if self._is_delayed:
                return await self._batcher.send_later(cast("list[DelayedSubmission]", self.items))
            return await self._batcher.send(cast("list[Submission]", self.items))
        except EnqueueNotConfirmed as error:
            ids = tuple(item[0] for item in self.items)
            raise EnqueueNotConfirmed(str(error), job_ids=ids) from error

    def full(self, position: int) -> "QueueFull":
        """Return the error for the job at *position*, which is the first that found no room."""
        job = self.items[self.positions.index(position)]
        return self._batcher.full(cast("Submission", job), enqueued=position)


async def each_sent(lots: "Sequence[Lot]") -> "AsyncIterator[tuple[Lot, Refusals]]":
    """Send *lots* one after the other; yield each with the answer.

    Raises:
        QueueUnavailable: Redis was away, or the queue was closed. It has the number of calls before
            the first that is not enqueued for certain.
    """
    for number, lot in enumerate(lots):
        try:
            refusals = await lot.send()
        except EnqueueNotConfirmed:
            raise
        except QueueUnavailable as error:
            later = (position for other in lots[number + 1 :] for position in other.positions)
            enqueued = min((*lot.positions[error.enqueued :], *later))
            raise QueueUnavailable(
                f"{error}. enqueue_many: {counted(enqueued, 'call')}, from the first, went in, and "
                f"the others may have: repeat them with ids, so that none is enqueued twice",
                enqueued=enqueued,
            ) from error
        yield lot, refusals
