"""`queue.dead_letters`: list, show, replay and purge the dead letters of a queue."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypedDict, cast

from aiostreamq import clock
from aiostreamq.client.task_names import name_of
from aiostreamq.errors import JobNotFound, PayloadError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
)
from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.replay import (
    keeps_result,
    lane_to_replay_in,
    write_history,
    write_replay,
)
from aiostreamq.model.stream_ids import earlier, id_before, is_stream_id, last_id_of
from aiostreamq.store.dead_letters import (
    LETTERS_LIMIT,
    PAGE,
    DeadLetterStore,
    Replay,
    Replayed,
    Span,
)

if TYPE_CHECKING:
    from typing import Unpack

    from aiostreamq.client.ports import QueueHandle
    from aiostreamq.client.task import Enqueuer

logger = get_logger("aiostreamq.dead")

# A replay at a rate sends the jobs of this many seconds at once.
BATCH_SECONDS = 0.2

# How many letters `list` returns by default.
DEFAULT_LIMIT = 100

Letters = list[DeadLetter]


class DeadLetterFilters(TypedDict, total=False):
    """Filters of dead letters; a letter must match all that are given."""

    task: "Enqueuer[..., object] | str | None"  #: letters of this task
    error: str | None  #: letters with this type of error, with or without its module
    older_than: Duration | None  #: letters whose jobs died at least this long ago
    newer_than: Duration | None  #: letters whose jobs died at most this long ago
    before: str | None  #: id of a letter: the letters before it


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
        wanted, span = await self._selection(filters)
        letters: Letters = []
        size = min(limit, PAGE) if wanted.is_open else PAGE
        async with aclosing(self._store().newest_first(span, size)) as pages:
            async for page in pages:
                letters += filter(wanted.matches, page)
                if len(letters) >= limit:
                    break
        return letters[:limit]

    async def count(self, **filters: "Unpack[DeadLetterFilters]") -> int:
        """Return the number of letters. Filters, errors and cancelling are as of `list`."""
        wanted, span = await self._selection(filters)
        store = self._store()
        if wanted.is_open and span == Span():
            return await store.count()
        found = 0
        async for page in store.newest_first(span):
            found += sum(map(wanted.matches, page))
        return found

    async def show(self, id: str) -> DeadLetter:  # noqa: A002  # the name users expect
        """Return one letter.

        Args:
            id: The id of a letter, or of a job, for its newest letter.

        Raises:
            JobNotFound: There is no such letter.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        [letter] = await self._find([id])
        return letter

    async def replay(
        self,
        *ids: str,
        everything: bool = False,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        rate: float | None = None,
        **filters: "Unpack[DeadLetterFilters]",
    ) -> int:
        """Enqueue the jobs of letters again, oldest first, with their ids and all attempts.

        A letter is kept if its job's id belongs to another job by now, or if it holds no
        readable job.

        Args:
            *ids: The ids of letters or of their jobs.
            everything: Replay all letters.
            args: Other positional arguments, for one id; None keeps those of the job.
                Values, or their JSON as `show` returns it, in which a mask stands for the
                secret in its place.
            kwargs: Other keyword arguments, in the same way.
            rate: The most jobs per second; None sets no limit.
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
        replayed, due = 0, clock.monotonic()
        async with aclosing(self._selected(ids, filters, everything)) as pages:
            async for page in pages:
                if ids:
                    _refuse_unreadable(page)
                revivals = [self._revival(letter, args, kwargs) for letter in page if letter.is_job]
                for start in range(0, len(revivals), size):
                    await asyncio.sleep(due - clock.monotonic())
                    batch = revivals[start : start + size]
                    replayed += await self._replay(batch)
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
        async with aclosing(self._selected(ids, filters, everything)) as pages:
            async for page in pages:
                purged += await store.purge([letter.id for letter in page])
        return purged

    def _store(self) -> DeadLetterStore:
        return DeadLetterStore(self._queue.session().broker)

    async def _selection(self, filters: DeadLetterFilters) -> tuple[DeadLetterFilter, Span]:
        task = filters.get("task")
        name = None if task is None else name_of(task)
        oldest, newest = "-", "+"
        older_than, newer_than = filters.get("older_than"), filters.get("newer_than")
        if older_than is not None or newer_than is not None:
            now = await self._store().now_ms()
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

    async def _find(self, ids: Sequence[str]) -> Letters:
        """Return the letters of *ids*, in that order.

        Raises:
            JobNotFound: One of the ids has no letter.
        """
        for one in ids:
            if not isinstance(cast("object", one), str):
                raise UsageError(f"{one!r} is not the id of a letter or a job: give a string")
        store = self._store()
        found = {one: await store.find(one) for one in ids if is_stream_id(one)}
        missing = {one for one in ids if found.get(one) is None}
        if missing:
            async with aclosing(store.newest_first(Span())) as pages:
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
                    f"queue {self._queue.name!r} has no dead letter {one!r}: give the id "
                    f"of a letter or of a job, as in queue.dead_letters.list()",
                    job_id=one,
                )
        # Two ids may have the same letter.
        return list({letter.id: letter for letter in letters.values() if letter}.values())

    async def _selected(
        self, ids: Sequence[str], filters: DeadLetterFilters, everything: bool
    ) -> AsyncGenerator[Letters, None]:
        """Yield the selected letters: those of *ids* in their order, or else the oldest first."""
        has_filters = any(value is not None for value in filters.values())
        if ids and (has_filters or everything):
            raise UsageError("ids and filters were both given: use one of them")
        if not (ids or has_filters or everything):
            raise UsageError(
                "specify which letters: give ids or filters, or everything=True for all of them"
            )
        if ids:
            letters = await self._find(ids)
            for start in range(0, len(letters), LETTERS_LIMIT):
                yield letters[start : start + LETTERS_LIMIT]
            return
        wanted, span = await self._selection(filters)
        store = self._store()
        last = await store.last_id()
        if last is None:
            return
        # Only letters that exist now: a job that fails again during the call is not replayed twice.
        async for page in store.oldest_first(span._replace(newest=earlier(span.newest, last))):
            if chosen := [letter for letter in page if wanted.matches(letter)]:
                yield chosen

    def _revival(
        self,
        letter: DeadLetter,
        args: Sequence[object] | None,
        kwargs: Mapping[str, object] | None,
    ) -> Replay:
        broker, spec = self._queue.session().broker, self._queue.spec_of(letter.task)
        signature = None if spec is None else spec.signature
        write = None if signature is None else signature.write_stored
        envelope = write_replay(letter, args, kwargs, write)
        if args is not None or kwargs is not None:
            self._check(letter, envelope)
        lane = lane_to_replay_in(letter, broker.lanes, spec and spec.options.lane)
        keeps = keeps_result(letter, spec and spec.options.result_ttl)
        return Replay(
            letter.id,
            letter.job_id,
            broker.place_of(lane),
            WaiterMode.NOBODY if keeps else WaiterMode.NO_RESULT,
            envelope,
            write_history(letter),
        )

    def _check(self, letter: DeadLetter, envelope: bytes) -> None:
        """Refuse a call with which the job could not run."""
        try:
            call = decode_envelope(envelope)
        except Malformed as error:
            raise UsageError(
                f"dead letter {letter.id} has an unreadable call ({error}): "
                f"its arguments cannot be replaced"
            ) from error
        most = self._queue.max_payload
        if len(envelope) > most:
            raise PayloadError(
                f"task {call.task!r}: a payload of {len(envelope):,} bytes is over the limit of "
                f"{most:,}: send a reference to the data, or raise Queue(max_payload=)"
            )

    async def _replay(self, revivals: Sequence[Replay]) -> int:
        answers = await self._store().replay(revivals)
        for revival, answer in zip(revivals, answers, strict=True):
            if answer is Replayed.REFUSED:
                logger.warning(
                    "dead letter %s is kept: its job's id belongs to another job by now",
                    revival.letter,
                    extra={"job_id": revival.job_id},
                )
        return answers.count(Replayed.DONE)


def _refuse_unreadable(letters: Letters) -> None:
    for letter in letters:
        if not letter.is_job:
            raise UsageError(
                f"dead letter {letter.id} does not hold a job that can run: show it, then purge it"
            )
