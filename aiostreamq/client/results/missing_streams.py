"""Awaited jobs whose stream is gone: it was deleted, or Redis evicted it.

A job that waited in the stream is lost. A job that a worker already has is not: the worker has all
of it, and its outcome is accepted. Workers report which jobs they run, and which they hold and have
not started. So a job is taken for lost only if no worker reports it for a while.
"""

from typing import TYPE_CHECKING, NamedTuple

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

# Seconds for which no worker may report a job. A worker reports three times in a lease, and this is
# longer than the usual one.
LONG_ENOUGH = 15.0


class Strays:
    """The awaited jobs of one process whose stream is gone."""

    def __init__(self, workers: "Callable[[], Awaitable[Sequence[WorkerInfo]]]") -> None:
        """Prepare; *workers* returns the workers of the queue as they describe themselves."""
        self._workers = workers
        # Those that no worker reports, and since when.
        self._since: dict[Ticket, float] = {}

    async def note(self, strays: "Iterable[Ticket]", others: "Iterable[Ticket]") -> "list[Ticket]":
        """Note what a look has found; return those of *strays* that are lost.

        Args:
            strays: Jobs whose stream is gone.
            others: Jobs that were looked at and are not.
        """
        for ticket in others:
            self._since.pop(ticket, None)
        self._since = {ticket: at for ticket, at in self._since.items() if ticket.futures}
        found = list(strays)
        reports = await self._reports() if found else None
        if reports is None:
            return []
        now = clock.monotonic()
        lost: list[Ticket] = []
        for ticket in found:
            if ticket.job_id in reports.jobs:
                # From the start again: a job may be between two places at the moment of a report.
                self._since.pop(ticket, None)
                continue
            age = now - self._since.setdefault(ticket, now)
            if age >= LONG_ENOUGH and age > reports.silence:
                lost.append(ticket)
        return lost

    async def _reports(self) -> "_Reports | None":
        """Return what the workers that live report; None if one of them may have any job."""
        try:
            workers = [one for one in await self._workers() if not one.is_lost]
        except BrokerError:
            return None
        jobs, silence = set[str](), 0.0
        for one in workers:
            if (
                one.last_seen_seconds is None  # it has not reported yet
                or one.running > len(one.jobs)  # it lists not all that it has
                or one.held > len(one.held_jobs)
            ):
                return None
            jobs.update((job.id for job in one.jobs), one.held_jobs)
            silence = max(silence, one.last_seen_seconds)
        return _Reports(jobs, silence)


class _Reports(NamedTuple):
    """The reports of all workers."""

    jobs: set[str]  #: ids of the jobs that they have
    silence: float  #: seconds since the oldest of the reports was made
