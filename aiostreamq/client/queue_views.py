"""`QueueViews`: the ways to look into a queue, the limits that steer it, and its locks."""

from typing import TYPE_CHECKING

from aiostreamq.client.queue_calls import QueueCalls
from aiostreamq.model.metadata import MetadataFilter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from datetime import datetime

    from aiostreamq.client.limit_settings import Limits
    from aiostreamq.client.lock import Lock
    from aiostreamq.client.task import Enqueuer
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.info import JobInfo, JobPage, MinuteInfo, QueueInfo, WorkerInfo
    from aiostreamq.model.job_state import JobState
    from aiostreamq.model.lock_reports import LockInfo

# Seconds that rates and latencies look back by default.
WINDOW = 300.0

# Seconds without a sign of life after which a lock is free by default.
LOCK_LEASE = 30.0

# How many jobs a page has, how many are searched for it, and for how many seconds, by default.
PAGE_LIMIT = 50
SEARCHED = 10_000
SEARCH_TIME = 1.0


class QueueViews(QueueCalls):
    """The state of a queue, its jobs, its workers and its limits."""

    @property
    def limits(self) -> "Limits":
        """The limits of the queue's tasks: list, set, clear and explain them."""
        # Imported at the first use: few programs need it.
        from aiostreamq.client.limit_settings import Limits

        return Limits(self._core)

    def lock(
        self,
        name: str,
        *,
        lease: "Duration" = LOCK_LEASE,
        wait: "Duration | None" = None,
        cancel_if_lost: bool = True,
    ) -> "Lock":
        """Return a lock of all programs that have this queue, as in `async with queue.lock("a")`.

        One program at a time is in the body, first come, first served. `async with` gives a
        `Fence`: a number that is higher than that of each holder before.

        Args:
            name: The name of the lock: 1 to 128 letters, digits, `_`, `.`, `:` or `-`.
            lease: Seconds (or "30s", or a timedelta) after which another may take the lock if this
                process dies or cannot reach Redis, 0.1 s at least. It is renewed while the body
                runs.
            wait: How long to wait for the lock; None is without a limit, 0 tries once.
            cancel_if_lost: Whether the body is cancelled if the lock is lost; `async with` raises
                LockLost then. Otherwise look at `fence.is_lost`.

        Raises:
            UsageError: The name or a duration is invalid.
        """
        # Imported at the first use: few programs have locks.
        from aiostreamq.client.lock import Lock

        return Lock(self._core, name, lease, wait, cancel_if_lost=cancel_if_lost)

    async def locks(self) -> "list[LockInfo]":
        """Return the locks that are held or waited for, by name. All keys of Redis are scanned.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.store.locks import LockStore

        return await LockStore(self._core.session().store).find_all()

    async def info(self, *, window: "Duration" = WINDOW) -> "QueueInfo":
        """Return the state of the queue: its lanes and tasks, with recent rates and latencies.

        If there are many jobs, the number of jobs of a task is estimated from a sample.

        Args:
            window: Seconds (or "15m", or a timedelta) that rates and latencies look back,
                up to 179 minutes; rounded up to whole minutes.

        Raises:
            UsageError: The window is invalid.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look

        return await look(self._core.session().store, window)

    async def workers(self) -> "list[WorkerInfo]":
        """Return the workers of the queue and what they run, as of their last heartbeats.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look_at_workers

        return await look_at_workers(self._core.session().store)

    def jobs(
        self,
        *,
        state: "JobState | str | Collection[JobState | str] | None" = None,
        task: "Enqueuer[..., object] | str | None" = None,
        since: "Duration | datetime | None" = None,
        tag: str | None = None,
        header: tuple[str, str] | None = None,
    ) -> "AsyncGenerator[JobInfo, None]":
        """Iterate over jobs, as in `async for job in queue.jobs(state="failed")`.

        Running jobs come first, then queued, delayed, held and parked ones, each oldest first (held
        jobs among those of the same limits); then those that ended recently, newest first. Pages
        are read as you iterate, and jobs change their states in between: one may come twice, or
        not at all.

        Args:
            state: A JobState or several; None is all of them.
            task: Only jobs of this task, given as a Task or by its name.
            since: Only jobs that entered their state at most this long ago, in seconds (or "10m",
                or a timedelta), or after a datetime. It does not apply to delayed jobs: when
                they became delayed is not known.
            tag: Only jobs with this tag. All jobs are read to find them. Jobs that have ended have
                tags and headers only if they have a dead letter.
            header: Only jobs with this header, given as its name and its value. Likewise.

        Raises:
            UsageError: A filter is invalid.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.job_listing import list_jobs

        metadata = MetadataFilter.of(tag, header)
        return list_jobs(self._core.session, state, task, since, metadata, self._core.spec_of)

    async def job_page(
        self,
        state: "JobState | str",
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        lane: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        contains: str | None = None,
        after: str | None = None,
        limit: int = PAGE_LIMIT,
        searched: int = SEARCHED,
        timeout: "Duration" = SEARCH_TIME,
    ) -> "JobPage":
        """Return some jobs in one state, and how to continue after them.

        The first page costs as much with a million jobs as with ten. Jobs come in the order of
        `jobs`; those that failed, timed out or are dead come from the dead letters. A page may
        hold fewer jobs than *limit* and still not be the last: the search for jobs that match
        stops after *searched* jobs, or after *timeout*, but looks at *limit* jobs at least.

        Args:
            state: A JobState, or its name.
            task: Only jobs of this task, given as a Task or by its name.
            lane: Only jobs in this lane.
            tag: Only jobs with this tag.
            error: Only jobs with this type of error, with or without its module.
            contains: Only jobs with this text in their arguments as JSON, in upper or lower case.
                Secrets are not searched.
            after: The `after` of the page before; None is the first page.
            limit: The most jobs to return.
            searched: The most jobs to look at.
            timeout: Seconds (or "1s", or a timedelta) after which to look at no more.

        Raises:
            UsageError: An argument is invalid.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.job_pages import PageFilter, PageSize, read_page

        wanted = PageFilter.of(state, task, lane, tag, error, contains)
        size = PageSize.of(limit, searched, timeout)
        core = self._core
        return await read_page(core.session().store, wanted, after, size, core.spec_of)

    async def history(
        self,
        *,
        window: "Duration" = 3600.0,
        task: "Enqueuer[..., object] | str | None" = None,
    ) -> "list[MinuteInfo]":
        """Return the jobs that ended in each minute, oldest first, the current one included.

        Args:
            window: Seconds (or "1h", or a timedelta) to look back, up to 179 minutes; rounded
                up to whole minutes.
            task: Only jobs of this task, given as a Task or by its name.

        Raises:
            UsageError: An argument is invalid.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look_back

        return await look_back(self._core.session().store, window, task)
