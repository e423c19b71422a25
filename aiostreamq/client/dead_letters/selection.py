"""The selection of dead letters: by filters, by ids, or all of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypedDict, cast

from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import JobNotFound, UsageError
from aiostreamq.model.dead_letters import DeadLetter, DeadLetterFilter
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.stream_ids import earlier, id_before, is_stream_id, last_id_of
from aiostreamq.store.dead_letters import LETTERS_LIMIT, DeadLetterStore, Span

if TYPE_CHECKING:
    from aiostreamq.client.task import Enqueuer

Letters = list[DeadLetter]


class DeadLetterFilters(TypedDict, total=False):
    """Filters of dead letters; a letter must match all that are given."""

    task: "Enqueuer[..., object] | str | None"  #: letters of this task
    error: str | None  #: letters with this type of error, with or without its module
    older_than: Duration | None  #: letters whose jobs died at least this long ago
    newer_than: Duration | None  #: letters whose jobs died at most this long ago
    before: str | None  #: id of a letter: the letters before it


class DeadLetterSelector:
    """Finds the dead letters of a queue that a call is about."""

    def __init__(self, store: DeadLetterStore, queue: str) -> None:
        self._store = store
        self._queue = queue  # its name, for messages

    async def matching(self, filters: DeadLetterFilters) -> tuple[DeadLetterFilter, Span]:
        """Return what *filters* select: which letters, and in which range of ids.

        Raises:
            UsageError: A filter is invalid.
            BrokerError: Redis refused.
        """
        task = filters.get("task")
        name = None if task is None else name_of(task)
        oldest, newest = "-", "+"
        older_than, newer_than = filters.get("older_than"), filters.get("newer_than")
        if older_than is not None or newer_than is not None:
            now = await self._store.now_ms()
            if older_than is not None:
                newest = last_id_of(now - round(seconds("older_than", older_than) * 1000))
            if newer_than is not None:
                oldest = f"{max(0, now - round(seconds('newer_than', newer_than) * 1000))}-0"
        if (before := filters.get("before")) is not None:
            if not is_stream_id(before):
                raise UsageError(
                    f"before={before!r} is not the id of a dead letter, such as 1764000000000-0"
                )
            newest = earlier(newest, id_before(before))
        return DeadLetterFilter(name, filters.get("error")), Span(oldest, newest)

    async def find(self, ids: Sequence[str]) -> Letters:
        """Return the letters of *ids*, in that order.

        Raises:
            UsageError: One of the ids is not a string.
            JobNotFound: One of the ids has no letter.
            BrokerError: Redis refused.
        """
        for one in ids:
            if not isinstance(cast("object", one), str):
                raise UsageError(f"{one!r} is not the id of a letter or a job: give a string")
        found = {one: await self._store.find(one) for one in ids if is_stream_id(one)}
        missing = {one for one in ids if found.get(one) is None}
        if missing:
            async with aclosing(self._store.newest_first(Span())) as pages:
                async for page in pages:
                    for letter in page:
                        if letter.job_id in missing:
                            missing.remove(letter.job_id)
                            found[letter.job_id] = letter
                    if not missing:
                        break
        letters = {one: found.get(one) for one in ids}
        for one, letter in letters.items():
            if letter is None:
                raise JobNotFound(
                    f"queue {self._queue!r} has no dead letter {one!r}: give the id "
                    f"of a letter or of a job, as in queue.dead_letters.list()",
                    job_id=one,
                )
        # Two ids may have the same letter.
        return list({letter.id: letter for letter in letters.values() if letter}.values())

    async def pages(
        self, ids: Sequence[str], filters: DeadLetterFilters, everything: bool
    ) -> AsyncGenerator[Letters, None]:
        """Yield the selected letters: those of *ids* in their order, or else the oldest first.

        Raises:
            UsageError: Ids, filters and *everything* are all missing, or more than one of them
                is given.
            JobNotFound: One of the ids has no letter.
            BrokerError: Redis refused.
        """
        has_filters = any(value is not None for value in filters.values())
        if ids and (has_filters or everything):
            raise UsageError("ids and filters were both given: use one of them")
        if not (ids or has_filters or everything):
            raise UsageError(
                "specify which letters: give ids or filters, or everything=True for all of them"
            )
        if ids:
            letters = await self.find(ids)
            for start in range(0, len(letters), LETTERS_LIMIT):
                yield letters[start : start + LETTERS_LIMIT]
            return
        wanted, span = await self.matching(filters)
        last = await self._store.last_id()
        if last is None:
            return
        # Only letters that exist now: a job that fails again during the call is not replayed twice.
        existing = span._replace(newest=earlier(span.newest, last))
        async for page in self._store.oldest_first(existing):
            if chosen := [letter for letter in page if wanted.matches(letter)]:
                yield chosen
