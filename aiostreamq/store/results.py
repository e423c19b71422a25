"""How jobs have ended, and the inboxes that hear of it."""

from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import signer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.queue import QueueStore

# How many jobs one call subscribes to: some 2 ms of Redis.
SUBSCRIBE_LIMIT = 500

# The answer of subscribe.lua about a job that it has not looked at, as it has read enough.
MORE = 3

# How long a notice stays in an inbox that is not read. It is only a hint: the outcome has a
# key of its own.
INBOX_MS = 60_000

# Seconds to ask for facts that only a log line needs.
BRIEFLY = 2


class Subscription(Enum):
    """The result of subscribing to a job that has not ended."""

    WILL_TELL = auto()  #: the inbox will get a notice
    NO_RESULT = auto()  #: the job keeps no result
    UNKNOWN = auto()  #: there is no such job
    LOST = auto()  #: its place in Redis is gone
    STRAY = auto()  #: its stream is gone: it is lost, unless a worker has it


class Results:
    """The outcomes of one queue's jobs."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def subscribe(
        self, inbox: str, job_ids: "Sequence[str]", *, thorough: bool = False
    ) -> "list[bytes | Subscription]":
        """Have *inbox* notified when jobs end; return the outcomes of those that have ended.

        Args:
            inbox: The inbox.
            job_ids: SUBSCRIBE_LIMIT at most.
            thorough: Whether to find jobs that are LOST or STRAY. That costs more.
        """
        answers = await self._subscribe(inbox, job_ids, int(thorough))
        # A call reads about a megabyte, and one job always.
        while left := [place for place, answer in enumerate(answers) if answer == MORE]:
            more = await self._subscribe(inbox, [job_ids[place] for place in left], int(thorough))
            for place, answer in zip(left, more, strict=True):
                answers[place] = answer
        return [_subscription_of(answer) for answer in answers]

    async def _subscribe(
        self, inbox: str, job_ids: "Sequence[str]", thorough: int
    ) -> "list[bytes | int | None]":
        arguments = [self._keys.prefix, inbox, thorough, *job_ids]
        answers = await self._queue.run("subscribe", [self._keys.inbox(inbox)], arguments)
        return cast("list[bytes | int | None]", answers)

    async def ping(self, inbox: str, message: str) -> None:
        """Put *message* into *inbox*, after everything that is in it already."""
        await self._queue.run("push_inbox_marker", [self._keys.inbox(inbox)], [message, INBOX_MS])

    async def job_state(self, job_id: str) -> bytes | None:
        """Return the outcome of a job that has ended, else its state; None if it is unknown."""
        keys = [self._keys.job(job_id), self._keys.result(job_id)]
        return cast(
            "bytes | None", await self._queue.run("job_state", keys, [GROUP, self._keys.prefix])
        )

    async def owner_of(self, job_id: str) -> str | None:
        """Return the worker that has a job now, or None. Tries for two seconds only."""
        job = await self._queue.call("HMGET", self._keys.job(job_id), "e", "s", deadline=BRIEFLY)
        entry, lane = cast("list[bytes | None]", job)
        if entry is None:
            return None
        stream = self._keys.stream(lane.decode() if lane else DEFAULT_LANE)
        found = await self._queue.call("XPENDING", stream, GROUP, entry, entry, 1, deadline=BRIEFLY)
        pending = cast("list[list[bytes]]", found)
        return pending[0][1].decode() if pending else None

    async def ender_of(self, job_id: str) -> str | None:
        """Return the worker that ended a job, if its outcome names one. Tries for two seconds."""
        outcome = await self._queue.call("GET", self._keys.result(job_id), deadline=BRIEFLY)
        return signer_of(cast("bytes", outcome)) if outcome else None


def _subscription_of(answer: bytes | int | None) -> bytes | Subscription:
    """Return the outcome of a job that has ended, or what else subscribe.lua found."""
    match answer:
        case bytes():
            return answer
        case 1:
            return Subscription.WILL_TELL
        case 2:
            return Subscription.NO_RESULT
        case 4:
            return Subscription.LOST
        case 5:
            return Subscription.STRAY
        case _:
            return Subscription.UNKNOWN
