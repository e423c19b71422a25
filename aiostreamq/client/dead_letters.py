"""The dead letters of a queue, as users hold them: `queue.dead_letters`."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypedDict, cast

from aiostreamq.client.task import name_of
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

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.task import Enqueuer

logger = get_logger("aiostreamq.dead")

# Seconds of jobs that a replay at a rate sends at once.
BEAT = 0.2

# How many letters `list` gives where nothing else is said.
LISTED = 100

Letters = list[DeadLetter]


class DeadLetterFilters(TypedDict, total=False):
    """Which letters are meant; all that is said must hold."""

    task: "Enqueuer[..., object] | str | None"  #: of this task
    error: str | None  #: with this type of error, with or without its module
    older_than: Duration | None  #: seconds ago, or longer, they died
    newer_than: Duration | None  #: seconds ago, or less, they died
    before: str | None  #: id of a letter: those that died before it


class DeadLetters:
    """The dead letters of a queue: jobs that failed for good."""

    def __init__(self, queue: "QueueClient") -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"<DeadLetters of {self._queue.name}>"

    async def list(self, *, limit: int = LISTED, **which: "Unpack[DeadLetterFilters]") -> Letters:
        """Return the newest letters, newest first.

        Args:
            limit: How many at most. The next come with `before=` the id of the last.
            **which: `task` (or its name), `error` (type name, with or without its
                module), `older_than` and `newer_than` (seconds, "7d", a timedelta),
                `before` (id of a letter).

        Raises:
            UsageError: A filter or the limit cannot be meant.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        if limit < 1:
            raise UsageError(f"limit={limit} would show nothing: use 1 or more")
        wanted, span = await self._selection(which)
        letters: Letters = []
        size = min(limit, PAGE) if wanted.is_open else PAGE
        async with aclosing(self._store().newest_first(span, size)) as pages:
            async for page in pages:
                letters += filter(wanted.matches, page)
                if len(letters) >= limit:
                    break
        return letters[:limit]

    async def count(self, **which: "Unpack[DeadLetterFilters]") -> int:
        """Return how many letters there are; takes, raises and is cancelled as `list`."""
        wanted, span = await self._selection(which)
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
            id: Of the letter, or of its job: then its newest letter.

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
        **which: "Unpack[DeadLetterFilters]",
    ) -> int:
        """Let jobs run again: under their ids, with all their attempts, oldest first.

        A letter stays where its id belongs to another job by now, and where it is no job.

        Args:
            *ids: Of letters or of their jobs.
            everything: All letters are meant.
            args: Other positional arguments, for one id; None leaves those of the job.
                Values, or their JSON as `show` has it: a mask in the place of a secret
                stands for that secret.
            kwargs: Other keyword arguments, likewise.
            rate: Jobs per second at most; None is at once.
            **which: Filters as for `list`, in place of ids.

        Returns:
            How many jobs run again.

        Raises:
            UsageError: It is not said which letters are meant, or twice; or the
                arguments are not those of the task.
            PayloadError: An argument cannot travel, or all together are too long.
            JobNotFound: One of *ids* has no letter. Nothing is replayed then.
            BrokerError: Redis refused. What came before is replayed.

        Cancelling leaves what has been sent replayed.
        """
        if rate is not None and not rate > 0:
            raise UsageError(f"rate={rate} would replay nothing: use jobs per second, or None")
        if (args is not None or kwargs is not None) and len(ids) != 1:
            raise UsageError("args= and kwargs= are for one job: give exactly one id with them")
        size = LETTERS_LIMIT if rate is None else max(1, int(min(LETTERS_LIMIT, rate * BEAT)))
        loop = asyncio.get_running_loop()
        replayed, due = 0, loop.time()
        async with aclosing(self._meant(ids, which, everything)) as pages:
            async for page in pages:
                if ids:
                    _refuse_strangers(page)
                revivals = [self._revival(letter, args, kwargs) for letter in page if letter.is_job]
                for start in range(0, len(revivals), size):
                    await asyncio.sleep(due - loop.time())
                    batch = revivals[start : start + size]
                    replayed += await self._replay(batch)
                    due = max(due, loop.time()) + (len(batch) / rate if rate else 0)
        return replayed

    async def purge(
        self, *ids: str, everything: bool = False, **which: "Unpack[DeadLetterFilters]"
    ) -> int:
        """Throw letters away, for good.

        Args:
            *ids: Of letters or of their jobs.
            everything: All letters are meant.
            **which: Filters as for `list`, in place of ids.

        Returns:
            How many are gone.

        Raises:
            UsageError: It is not said which letters are meant, or twice.
            JobNotFound: One of *ids* has no letter. Nothing is purged then.
            BrokerError: Redis refused. What came before is gone.

        Cancelling leaves what has been purged gone.
        """
        store, purged = self._store(), 0
        async with aclosing(self._meant(ids, which, everything)) as pages:
            async for page in pages:
                purged += await store.purge([letter.id for letter in page])
        return purged

    def _store(self) -> DeadLetterStore:
        return DeadLetterStore(self._queue.session().broker)

    async def _selection(self, which: DeadLetterFilters) -> tuple[DeadLetterFilter, Span]:
        task = which.get("task")
        name = None if task is None else name_of(task)
        oldest, newest = "-", "+"
        older_than, newer_than = which.get("older_than"), which.get("newer_than")
        if older_than is not None or newer_than is not None:
            now = await self._store().now_ms()
            if older_than is not None:
                newest = last_id_of(now - round(seconds("older_than", older_than) * 1000))
            if newer_than is not None:
                oldest = f"{max(0, now - round(seconds('newer_than', newer_than) * 1000))}-0"
        if (before := which.get("before")) is not None:
            if not is_stream_id(before):
                raise UsageError(
                    f"before={before!r} is no id of a dead letter, as in 1764000000000-0"
                )
            newest = earlier(newest, id_before(before))
        return DeadLetterFilter(name, which.get("error")), Span(oldest, newest)

    async def _find(self, ids: Sequence[str]) -> Letters:
        """The letters that *ids* mean, in that order.

        Raises:
            JobNotFound: One of them means none.
        """
        for one in ids:
            if not isinstance(cast("object", one), str):
                raise UsageError(f"{one!r} is no id of a letter or a job: those are strings")
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
                    f"queue {self._queue.name!r} has no dead letter {one!r}: it takes the id "
                    f"of a letter or of a job, as queue.dead_letters.list() shows them",
                    job_id=one,
                )
        # Two ids may mean the same letter.
        return list({letter.id: letter for letter in letters.values() if letter}.values())

    async def _meant(
        self, ids: Sequence[str], which: DeadLetterFilters, everything: bool
    ) -> AsyncGenerator[Letters, None]:
        """Give the letters that a call is about, oldest first where they are many."""
        words = [name for name, value in which.items() if value is not None]
        if ids and (words or everything):
            raise UsageError("ids and filters both say which letters are meant: give one of them")
        if not (ids or words or everything):
            raise UsageError(
                "it is not said which letters are meant: give ids or filters, "
                "or everything=True for all of them"
            )
        if ids:
            letters = await self._find(ids)
            for start in range(0, len(letters), LETTERS_LIMIT):
                yield letters[start : start + LETTERS_LIMIT]
            return
        wanted, span = await self._selection(which)
        store = self._store()
        last = await store.last_id()
        if last is None:
            return
        # Not beyond what is there now: a job that fails again meanwhile is not meant twice.
        async for page in store.oldest_first(span._replace(newest=earlier(span.newest, last))):
            if chosen := [letter for letter in page if wanted.matches(letter)]:
                yield chosen

    def _revival(
        self,
        letter: DeadLetter,
        args: Sequence[object] | None,
        kwargs: Mapping[str, object] | None,
    ) -> Replay:
        broker, task = self._queue.session().broker, self._queue.tasks.get(letter.task)
        spec = None if task is None else task.spec
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
                f"dead letter {letter.id} has a call that cannot be read ({error}): "
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
                    "dead letter %s stays: its job's id belongs to another job by now",
                    revival.letter,
                    extra={"job_id": revival.job_id},
                )
        return answers.count(Replayed.DONE)


def _refuse_strangers(letters: Letters) -> None:
    for letter in letters:
        if not letter.is_job:
            raise UsageError(
                f"dead letter {letter.id} is no job that could run: look at it and purge it"
            )
