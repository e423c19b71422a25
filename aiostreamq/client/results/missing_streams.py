"""Awaited jobs whose stream is gone: it was deleted, or Redis evicted it.

A job that waited in the stream is lost. A job that a worker already has is not: the worker has all
of it, and its outcome is accepted. Workers report which jobs they run, so a job is taken for lost
only if no worker reports it for a while.
"""

from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from aiostreamq.client.results.tickets import Ticket
    from aiostreamq.model.info import WorkerInfo

LOST = (
    "the job is lost: the key in Redis that it waited in was deleted or evicted: enqueue it again, "
    "and set maxmemory-policy to noeviction"
)

# Seconds for which no worker may report a job: longer than prefetched jobs usually wait.
LONG_ENOUGH = 15.0


class Strays:
    """The awaited jobs of one process whose stream is gone."""

    def __init__(self, workers: "Callable[[], Awaitable[Sequence[WorkerInfo]]]") -> None:
        """Prepare; *workers* returns the workers of the queue as they describe themselves."""
        self._workers = workers
        self._since: dict[Ticket, float] = {}

    async def note(self, strays: "Iterable[Ticket]", others: "Iterable[Ticket]") -> "list[Ticket]":
        """Note what a look has found; return those of *strays* that are lost.

        Args:
            strays: Jobs whose stream is gone.
            others: Jobs that were looked at and are not.
        """
        for ticket in others:
            self._since.pop(ticket, None)
        now = clock.monotonic()
        found = {ticket: self._since.setdefault(ticket, now) for ticket in strays}
        self._since = {ticket: at for ticket, at in self._since.items() if ticket.futures}
        old = {ticket: now - at for ticket, at in found.items() if now - at >= LONG_ENOUGH}
        if not old:
            return []
        try:
            workers = [one for one in await self._workers() if not one.is_lost]
        except BrokerError:
            return []
        running = {job.id for one in workers for job in one.jobs}
        # A worker that lists not all of its jobs, or has not reported since, may have it.
        if any(one.last_seen_seconds is None or one.running > len(one.jobs) for one in workers):
            return []
        silence = max((one.last_seen_seconds or 0.0 for one in workers), default=0.0)
        return [
            ticket for ticket, age in old.items() if ticket.job_id not in running and age > silence
        ]
