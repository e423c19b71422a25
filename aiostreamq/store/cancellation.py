"""Cancelling jobs."""

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import EntryRef
from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many jobs a call cancels: some 2 ms of Redis.
CANCEL_LIMIT = 100

# The answer of cancel.lua about a job that it has not looked at, as it has read enough.
NOT_LOOKED_AT = 0

# At how many entries of a lane a call looks, to cancel their jobs: some 2 ms of Redis.
LANE_LIMIT = 150

# How long the outcome of a cancelled job is kept if its envelope does not say. The option of
# its task is known to workers only, and no worker may ever get the job.
KEEP_CANCELLED_MS = 3600 * 1000


class LaneFilter(NamedTuple):
    """The jobs of a lane that are to be cancelled."""

    states: "Sequence[str]"  #: queued, running or both
    before_ms: int | None  #: only those that were put there earlier; None is any
    task: str | None  #: only those of this task; None is any


class LanePart(NamedTuple):
    """How many jobs were cancelled in a part of a lane."""

    queued: int
    running: int
    last: str  #: the entry after which the next part begins; empty at the end


class Cancellation:
    """Cancels jobs of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def cancel(
        self, job_ids: "Sequence[str]", states: "Iterable[str]" = ()
    ) -> "list[bytes | None]":
        """Cancel jobs; return the state of each before that, as cancel.lua replies.

        Args:
            job_ids: Any number of jobs.
            states: Cancel only jobs in these states; empty is any.
        """
        answers: dict[str, bytes | None] = {}
        keys = [self._keys.delayed, self._keys.control, self._keys.cancelled]
        ids = list(dict.fromkeys(job_ids))  # an id that is given twice is one job
        while ids:
            some = ids[:CANCEL_LIMIT]
            arguments: list[Argument] = [GROUP, self._keys.prefix, KEEP_CANCELLED_MS]
            reply = await self._queue.run("cancel", keys, [*arguments, " ".join(states), *some])
            found = dict(zip(some, cast("list[bytes | int | None]", reply), strict=True))
            # A call reads about a megabyte, and one job always.
            left = [job_id for job_id in some if found[job_id] == NOT_LOOKED_AT]
            for job_id in left:
                del found[job_id]
            answers.update(cast("dict[str, bytes | None]", found))
            ids = left + ids[CANCEL_LIMIT:]
        return [answers[job_id] for job_id in job_ids]

    async def cancel_part(self, stream: str, first: str, last: str, wanted: LaneFilter) -> LanePart:
        """Cancel the jobs of a part of a lane, without naming them.

        Args:
            stream: The key of the lane's stream.
            first: The id of the first entry; "(<id>" begins after it.
            last: The id of the last entry.
            wanted: The jobs to cancel.
        """
        keys = [self._keys.delayed, self._keys.control, self._keys.cancelled, stream]
        before = "" if wanted.before_ms is None else wanted.before_ms
        arguments: list[Argument] = [GROUP, self._keys.prefix, KEEP_CANCELLED_MS]
        arguments += [" ".join(wanted.states), first, last, before, wanted.task or "", LANE_LIMIT]
        reply = await self._queue.run("cancel_lane", keys, arguments)
        queued, running, end = cast("tuple[int, int, bytes]", reply)
        return LanePart(queued, running, end.decode())

    async def cancelled_among(self, job_ids: "Sequence[str]") -> set[str]:
        """Return which of some running jobs are cancelled."""
        if not job_ids:
            return set()
        scores = await self._queue.call("ZMSCORE", self._keys.cancelled, *job_ids)
        found = zip(job_ids, cast("list[bytes | None]", scores), strict=True)
        return {job_id for job_id, score in found if score is not None}

    def entries_in(self, message: "Mapping[str, str]") -> list[EntryRef]:
        """Return the entries that a control message names."""
        parts = message.get("entries", "").split()
        found: list[EntryRef] = []
        for lane, entry in zip(parts[::2], parts[1::2], strict=False):
            with suppress(UsageError):  # a lane that only other workers of the queue know
                found.append((self._queue.place_of(lane), entry.encode()))
        return found
