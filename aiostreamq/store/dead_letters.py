"""The dead letters of a queue."""

from contextlib import aclosing
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.aio.batching import split
from aiostreamq.store.pages import PAGE, Entry, pages_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.store.connection.link import Argument, Reply
    from aiostreamq.store.queue import QueueStore

# How many letters a call changes: some 2 ms of Redis.
LETTERS_LIMIT = 100

# About how many dead letters are kept, and for how long: a month is longer than every holiday
# and every monthly run, and an older job is hardly worth running again.
MAX_DEAD = 100_000
MAX_DEAD_AGE_MS = 30 * 24 * 3600 * 1000

# How long the outcome of a job is kept that was given up. The option of its own is in
# the envelope, which the scripts do not read.
KEEP_DEAD_MS = 24 * 3600 * 1000


class Span(NamedTuple):
    """A range of letters by their ids; both ends are part of it."""

    oldest: str = "-"
    newest: str = "+"


class Replay(NamedTuple):
    """A letter whose job is to run again, in the order of the arguments of the script."""

    letter: str
    job_id: str
    stream: int  #: place of the stream among the queue's, from 1
    mark: str  #: a WaiterMode: whether a result is kept
    envelope: bytes
    history: bytes
    digest: str = ""  #: of the key that the job takes again; empty for none


class Replayed(IntEnum):
    """The outcome of replaying a letter."""

    DONE = 1  #: its job runs again
    GONE = 0  #: the letter no longer exists
    REFUSED = -1  #: its id belongs to another job now
    KEY_TAKEN = -2  #: another job that has not ended holds its key


class DeadLetterStore:
    """The dead letters of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._dead = queue.keys.dead

    async def now_ms(self) -> int:
        """Return milliseconds since 1970, by Redis's clock, as in the ids of letters."""
        await self._queue.open()
        await self._queue.clock.refresh()
        return self._queue.clock.now_ms()

    async def count(self) -> int:
        """Return how many letters there are."""
        return cast("int", await self._ask("XLEN", self._dead))

    async def last_id(self) -> str | None:
        """Return the id of the newest letter, or None."""
        async for page in self.newest_first(Span(), 1):
            return page[0].id
        return None

    async def find(self, letter_id: str) -> "DeadLetter | None":
        """Return the letter of that id, or None."""
        found = _letters(
            cast("list[Entry]", await self._ask("XRANGE", self._dead, letter_id, letter_id))
        )
        return found[0] if found else None

    async def newest_first(
        self, span: Span, size: int = PAGE
    ) -> "AsyncGenerator[list[DeadLetter], None]":
        """Yield all letters of *span* in pages of *size* at most, newest first."""
        pages = pages_of(self._queue, "XREVRANGE", self._dead, span.newest, span.oldest, size)
        async for page in pages:
            yield _letters(page)

    async def newest_of_job(self, job_id: str, span: Span, most: int) -> "DeadLetter | None":
        """Return the newest letter of a job, or None; *most* letters are looked at, about.

        Only the letter that is found is parsed.
        """
        looked_at, wanted = 0, job_id.encode()
        pages = pages_of(self._queue, "XREVRANGE", self._dead, span.newest, span.oldest)
        async with aclosing(pages):
            async for page in pages:
                for letter in _letters([entry for entry in page if wanted in entry[1]]):
                    if letter.job_id == job_id:
                        return letter
                looked_at += len(page)
                if looked_at >= most:
                    break
        return None

    async def oldest_first(self, span: Span) -> "AsyncGenerator[list[DeadLetter], None]":
        """Yield all letters of *span* in pages of PAGE at most, oldest first."""
        pages = pages_of(self._queue, "XRANGE", self._dead, span.oldest, span.newest)
        async for page in pages:
            yield _letters(page)

    async def replay(self, revivals: "Sequence[Replay]") -> list[Replayed]:
        """Run the jobs of letters again; return what became of each."""
        keys = [self._dead, *self._queue.streams]
        answers: list[Replayed] = []
        for some in split(revivals, LETTERS_LIMIT, lambda one: len(one.envelope)):
            arguments: list[Argument] = [self._queue.keys.prefix]
            for revival in some:
                arguments += revival._replace(stream=revival.stream + 1)
            reply = await self._queue.run("replay_dead_letters", keys, arguments)
            answers += [Replayed(answer) for answer in cast("list[int]", reply)]
        return answers

    async def purge(self, letter_ids: "Sequence[str]") -> int:
        """Delete letters, LETTERS_LIMIT at most; return how many existed."""
        return cast("int", await self._queue.run("delete_dead_letters", [self._dead], letter_ids))

    async def forget_old(self) -> int:
        """Delete letters that are older than MAX_DEAD_AGE_MS, about; return how many."""
        oldest = self._queue.clock.now_ms() - MAX_DEAD_AGE_MS
        # About: Redis drops whole nodes of the stream, which costs it next to nothing.
        trimmed = await self._queue.call("XTRIM", self._dead, "MINID", "~", f"{oldest}-0")
        return cast("int", trimmed)

    async def _ask(self, *command: "Argument") -> "Reply":
        # Opened first, because that gives up if Redis cannot be reached.
        await self._queue.open()
        return await self._queue.call(*command)


def _letters(entries: "list[Entry]") -> "list[DeadLetter]":
    # A worker writes letters and reads none.
    from aiostreamq.model.dead_letters import parse_letter

    return [parse_letter(entry, fields) for entry, fields in entries]
