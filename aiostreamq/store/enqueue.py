"""Putting jobs into their streams."""

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.errors import AioStreamQError
    from aiostreamq.model.delivery import Submission
    from aiostreamq.store.connection.link import Argument, Reply
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore

# How many jobs one call enqueues: some 2 ms of Redis.
ENQUEUE_LIMIT = 500


class IdWas(IntEnum):
    """The state of a job's id before an enqueue; true if the enqueue put nothing in."""

    FREE = 0
    TAKEN = 1
    DOUBTFUL = 2  #: taken, maybe by the same call: it was sent again after a lost reply

    @property
    def is_certain(self) -> bool:
        """Whether it was so before the call."""
        return self is not IdWas.DOUBTFUL


class Refusals(NamedTuple):
    """Places (from 0) of the jobs that an enqueue did not put in."""

    taken: set[int]  #: their ids are taken; the jobs that have them are left alone
    full: set[int]  #: their lanes are full
    is_certain: bool = True  #: whether it was sent once, and so cannot have met its own jobs
    #: those that raise: Redis refused their size, or other jobs hold their keys
    errors: "Mapping[int, AioStreamQError]" = MappingProxyType({})
    ahead: int = 0  #: how many clients wait for room in the lane that go first

    def id_was(self, place: int) -> IdWas:
        """Return how the id of the job at *place* was found."""
        if place not in self.taken:
            return IdWas.FREE
        return IdWas.TAKEN if self.is_certain else IdWas.DOUBTFUL


class Submissions:
    """Puts jobs into the streams of one queue."""

    def __init__(self, queue: "QueueStore", confirmed: "ConfirmedRunner | None" = None) -> None:
        """Prepare.

        Args:
            queue: The queue.
            confirmed: Runs the script and waits for its writes; None waits for nothing.
        """
        self._queue = queue
        self._confirmed = confirmed
        self._lane_streams = queue.streams[: 1 + len(queue.lanes)]
        self._prefix = queue.keys.prefix

    def command(self, job: "Submission") -> "tuple[Argument, ...]":
        """Return the command that enqueues one job. Only after the queue was opened."""
        keys = self._lane_streams
        sha = self._queue.script("enqueue").sha
        return ("EVALSHA", sha, len(keys), *keys, self._prefix, "", 0, *job)

    async def enqueue(
        self, jobs: "Sequence[Submission]", inbox: str, deadline: float
    ) -> "set[int]":
        """Put *jobs* into their streams; return the places (from 0) of those whose id was taken.

        Args:
            jobs: ENQUEUE_LIMIT at most.
            inbox: The inbox of this process, for the jobs that are awaited.
            deadline: Seconds after which to stop trying.

        Raises:
            QueueUnavailable: *deadline* passed; each job may or may not be in.
            EnqueueNotConfirmed: The jobs are in, but *deadline* passed before a confirmation.
            BrokerError: Redis refused.
        """
        reply = cast("list[int]", await self._put(jobs, inbox, deadline, 0))
        return {place - 1 for place in reply}

    async def enqueue_within(
        self,
        max_length: int,
        jobs: "Sequence[Submission]",
        inbox: str,
        deadline: float,
        max_bytes: int = 0,
        waited_ms: int | None = None,
    ) -> Refusals:
        """Put *jobs* into those of their streams that hold fewer than *max_length* jobs.

        And whose payloads have *max_bytes* at most. With 0, that bound is left out.

        With *waited_ms* the caller will ask again, and clients take turns: those go first whose
        jobs have waited longest. All jobs are for one lane then, and the oldest of them has waited
        for that many milliseconds.

        Raises:
            As `enqueue`.
        """
        limits: int | str = max_length
        if max_bytes or waited_ms is not None:
            waited = "" if waited_ms is None else f" {waited_ms}"
            limits = f"{max_length} {max_bytes} {GROUP}{waited}"
        reply, ahead = await self._put(jobs, inbox, deadline, limits), 0
        if waited_ms is not None:
            ahead, reply = cast("tuple[int, list[int]]", reply)
        places = cast("list[int]", reply)
        return Refusals(
            {place - 1 for place in places if place > 0},
            {-place - 1 for place in places if place < 0},
            ahead=ahead,
        )

    async def _put(
        self, jobs: "Sequence[Submission]", inbox: str, deadline: float, limits: "int | str"
    ) -> "Reply":
        arguments: list[Argument] = [self._prefix, inbox, limits]
        for job in jobs:
            arguments += job
        keys = self._lane_streams
        if self._confirmed is None:
            return await self._queue.run("enqueue", keys, arguments, deadline)
        return await self._confirmed.run("enqueue", keys, arguments, deadline, len(jobs))
