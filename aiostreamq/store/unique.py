"""Putting jobs that have keys into the queue."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP
from aiostreamq.store.cancellation import KEEP_CANCELLED_MS
from aiostreamq.store.enqueue import Refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.errors import AioStreamQError
    from aiostreamq.model.delivery import UniqueSubmission
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore


# Seconds that freeing a key may take: a job waits for it before it runs.
FREE_TIMEOUT = 5.0


async def free_key(queue: "QueueStore", digest: str, job_id: str) -> None:
    """Free a key if a job holds it.

    Raises:
        QueueUnavailable: Redis did not answer within FREE_TIMEOUT.
        BrokerError: Redis refused.
    """
    await queue.run("free_key", [queue.keys.unique], [digest, job_id], FREE_TIMEOUT)


class UniqueSubmissions:
    """Puts jobs that have keys into the streams of one queue, or keeps them until they are due."""

    def __init__(self, queue: "QueueStore", confirmed: "ConfirmedRunner | None" = None) -> None:
        """Prepare.

        Args:
            queue: The queue.
            confirmed: Runs the script and waits for its writes; None waits for nothing.
        """
        self._queue = queue
        self._confirmed = confirmed
        names = queue.keys
        lanes = queue.streams[: 1 + len(queue.lanes)]
        self._keys = [names.delayed, names.control, names.cancelled, names.unique, *lanes]

    async def enqueue(
        self,
        jobs: "Sequence[UniqueSubmission]",
        inbox: str,
        policy: "QueuePolicy",
        waited_ms: int | None = None,
    ) -> Refusals:
        """Enqueue *jobs* whose keys are free; call `on_held` of the others.

        The places of the others are among those that are taken.

        Args:
            jobs: ENQUEUE_LIMIT at most.
            inbox: The inbox of this process, for the jobs that are awaited.
            policy: The limits of the queue.
            waited_ms: For how long the oldest job has waited for room, as for
                `Submissions.enqueue_within`.

        Raises:
            QueueUnavailable: The time of *policy* is over; each job may or may not be in.
            EnqueueNotConfirmed: The jobs are in, but were not confirmed in time.
            BrokerError: Redis refused.
        """
        waited = "" if waited_ms is None else f" {waited_ms}"
        limits = f"{policy.max_length} {policy.max_bytes} {GROUP}{waited}"
        arguments: list[Argument] = [GROUP, self._queue.keys.prefix, KEEP_CANCELLED_MS, ""]
        arguments += (inbox, limits if policy.is_bounded else 0)
        for job in jobs:
            arguments += (*job[:6], job.envelope)
        run, timeout = self._queue.run, policy.enqueue_timeout
        if self._confirmed is None:
            reply = await run("enqueue_unique", self._keys, arguments, timeout)
        else:
            reply = await self._confirmed.run(
                "enqueue_unique", self._keys, arguments, timeout, len(jobs)
            )
        ahead, places, holders = cast("tuple[int, list[int], list[bytes]]", reply)
        errors: dict[int, AioStreamQError] = {}
        for place, holder in zip(places, holders, strict=True):
            if holder and (error := jobs[place - 1].on_held(holder.decode())) is not None:
                errors[place - 1] = error
        taken = {place - 1 for place in places if place > 0}
        full = {-place - 1 for place in places if place < 0}
        return Refusals(taken, full, errors=errors, ahead=ahead)
