"""`queue.dead_letters`: list, show, replay and purge the dead letters of a queue."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.client.dead_letters.grouping import DeadLetterGroups, group_newest
from aiostreamq.client.dead_letters.replaying import Replayer
from aiostreamq.client.dead_letters.selection import DeadLetterFilters, DeadLetterSelector, Letters
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.store.dead_letters import LETTERS_LIMIT, DeadLetterStore, Span
from aiostreamq.store.pages import PAGE

if TYPE_CHECKING:
    from typing import Unpack

    from aiostreamq.client.protocols import QueueHandle
    from aiostreamq.model.dead_letters import DeadLetter

# A replay at a rate sends the jobs of this many seconds at once.
BATCH_SECONDS = 0.2

# How many letters `list` returns by default.
DEFAULT_LIMIT = 100

# How many letters `groups` looks at, and for how many seconds, by default.
GROUPED = 10_000
GROUPING_TIME = 1.0


class DeadLetters:
    """The dead letters of a queue: jobs that failed for good."""

    def __init__(self, queue: "QueueHandle") -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"<DeadLetters of {self._queue.name}>"

    async def list(
        self, *, limit: int = DEFAULT_LIMIT, **filters: "Unpack[DeadLetterFilters]"
    ) -> Letters:
        """Return the newest letters, newest first.

        Args:
            limit: The most letters to return. For the next page, pass the id of the last
                letter as `before=`.
            **filters: `task` (or its name), `error` (a type name, with or without its
                module), `older_than` and `newer_than` (seconds, "7d", or a timedelta),
                `before` (the id of a letter).

        Raises:
            UsageError: A filter or the limit is invalid.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        if limit < 1:
            raise UsageError(f"limit={limit} would show nothing: use 1 or more")
        store = self._store()
        wanted, span = await self._selector(store).matching(filters)
        letters: Letters = []
        size = min(limit, PAGE) if wanted.is_open else PAGE
        async with aclosing(store.newest_first(span, size)) as pages:
            async for page in pages:
                letters += filter(wanted.matches, page)
                if len(letters) >= limit:
                    break
        return letters[:limit]

    async def count(self, **filters: "Unpack[DeadLetterFilters]") -> int:
        """Return the number of letters. Filters, errors and cancelling are as of `list`."""
        store = self._store()
        wanted, span = await self._selector(store).matching(filters)
        if wanted.is_open and span == Span():
            return await store.count()
        found = 0
        async for page in store.newest_first(span):
            found += sum(map(wanted.matches, page))
        return found

    async def groups(
        self, *, searched: int = GROUPED, timeout: Duration = GROUPING_TIME
    ) -> DeadLetterGroups:
        """Return the newest letters in groups of one task and one type of error.

        Args:
            searched: About how many letters to look at, at most.
            timeout: Seconds (or "1s", or a timedelta) after which to look at no more.

        Raises:
            UsageError: The timeout is invalid.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        return await group_newest(self._store(), searched, seconds("timeout", timeout))

    async def show(self, id: str) -> "DeadLetter":  # noqa: A002  # the name users expect
        """Return one letter.

        Args:
            id: The id of a letter, or of a job, for its newest letter.

        Raises:
            JobNotFound: There is no such letter.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        [letter] = await self._selector(self._store()).find([id])
        return letter

    async def replay(
        self,
        *ids: str,
        everything: bool = False,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        rate: float | None = None,
        ignore_keys: bool = False,
        **filters: "Unpack[DeadLetterFilters]",
    ) -> int:
        """Enqueue the jobs of letters again, oldest first, with their ids and all attempts.

        A letter is kept if its job's id belongs to another job by now, if another job that has
        not ended holds its key, or if it holds no readable job. A warning is logged then.

        Args:
            *ids: The ids of letters or of their jobs.
            everything: Replay all letters.
            args: Other positional arguments, for one id; None keeps those of the job.
                Values, or their JSON as `show` returns it, in which a mask stands for the
                secret in its place.
            kwargs: Other keyword arguments, in the same way.
            rate: The most jobs per second; None sets no limit.
            ignore_keys: Whether to replay unique jobs although other jobs hold their keys. The
                jobs have no keys then, and neither has one that is replayed with other arguments.
            **filters: Filters as for `list`, in place of ids.

        Returns:
            The number of jobs that were enqueued again.

        Raises:
            UsageError: Ids, filters and *everything* are all missing, or more than one of them
                is given; or the arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON, or the call is too long.
            JobNotFound: One of *ids* has no letter; nothing is replayed.
            BrokerError: Redis refused. The letters before the error are replayed.

        If it is cancelled, the letters that were sent are replayed.
        """
        if rate is not None and not rate > 0:
            raise UsageError(f"rate={rate} would replay nothing: use jobs per second, or None")
        if (args is not None or kwargs is not None) and len(ids) != 1:
            raise UsageError("args= and kwargs= are for one job: give exactly one id with them")
        size = (
            LETTERS_LIMIT if rate is None else max(1, int(min(LETTERS_LIMIT, rate * BATCH_SECONDS)))
        )
        store = self._store()
        replayer = Replayer(self._queue, store)
        replayed, due = 0, clock.monotonic()
        async with aclosing(self._selector(store).pages(ids, filters, everything)) as pages:
            async for page in pages:
                if ids:
                    _refuse_unreadable(page)
                replays = [
                    replayer.replay_of(letter, args, kwargs, ignore_keys=ignore_keys)
                    for letter in page
                    if letter.is_job
                ]
                for start in range(0, len(replays), size):
                    await asyncio.sleep(due - clock.monotonic())
                    batch = replays[start : start + size]
                    replayed += await replayer.send(batch)
                    due = max(due, clock.monotonic()) + (len(batch) / rate if rate else 0)
        return replayed

    async def purge(
        self, *ids: str, everything: bool = False, **filters: "Unpack[DeadLetterFilters]"
    ) -> int:
        """Delete letters for good.

        Args:
            *ids: The ids of letters or of their jobs.
            everything: Delete all letters.
            **filters: Filters as for `list`, in place of ids.

        Returns:
            The number of deleted letters.

        Raises:
            UsageError: Ids, filters and *everything* are all missing, or more than one of them
                is given.
            JobNotFound: One of *ids* has no letter; nothing is deleted.
            BrokerError: Redis refused. The letters before the error are deleted.

        If it is cancelled, some letters may be deleted already.
        """
        store, purged = self._store(), 0
        async with aclosing(self._selector(store).pages(ids, filters, everything)) as pages:
            async for page in pages:
                purged += await store.purge([letter.id for letter in page])
        return purged

    def _store(self) -> DeadLetterStore:
        return DeadLetterStore(self._queue.session().store)

    def _selector(self, store: DeadLetterStore) -> DeadLetterSelector:
        return DeadLetterSelector(store, self._queue.name)


def _refuse_unreadable(letters: Letters) -> None:
    for letter in letters:
        if not letter.is_job:
            raise UsageError(
                f"dead letter {letter.id} does not hold a job that can run: show it, then purge it"
            )
