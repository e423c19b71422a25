"""Putting jobs that have keys into the queue."""

from typing import TYPE_CHECKING, cast

from aiostreamq.errors import AioStreamQError
from aiostreamq.model.keys import GROUP
from aiostreamq.store.cancellation import KEEP_CANCELLED_MS
from aiostreamq.store.enqueue import Refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import UniqueSubmission
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore


# How many jobs one call enqueues: some 2 ms of Redis, or 5 if each cancels or moves another job.
UNIQUE_LIMIT = 100

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
            jobs: Any number of jobs. Each UNIQUE_LIMIT of them is a step of its own.
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
        head: list[Argument] = [GROUP, self._queue.keys.prefix, KEEP_CANCELLED_MS, "", inbox]
        head.append(limits if policy.is_bounded else 0)
        taken, full, errors, ahead = set[int](), set[int](), dict[int, AioStreamQError](), 0
        for start in range(0, len(jobs), UNIQUE_LIMIT):
            some = jobs[start : start + UNIQUE_LIMIT]
            ahead, places, holders = await self._put(some, head, policy.enqueue_timeout)
            taken |= {start + place - 1 for place in places if place > 0}
            full |= {start - place - 1 for place in places if place < 0}
            for place, holder in zip(places, holders, strict=True):
                if holder and (error := some[place - 1].on_held(holder.decode())) is not None:
                    errors[start + place - 1] = error
        return Refusals(taken, full, errors=errors, ahead=ahead)

    async def _put(
        self, jobs: "Sequence[UniqueSubmission]", head: "Sequence[Argument]", timeout: float
    ) -> tuple[int, list[int], list[bytes]]:
        """Run the script once; return its reply."""
        arguments = [*head]
        for job in jobs:
            arguments += (*job[:6], job.envelope)
        if self._confirmed is None:
            reply = await self._queue.run("enqueue_unique", self._keys, arguments, timeout)
        else:
            reply = await self._confirmed.run(
                "enqueue_unique", self._keys, arguments, timeout, len(jobs)
            )
        return cast("tuple[int, list[int], list[bytes]]", reply)
