"""The dead letters of a queue."""

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.dead_letters import parse_letter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.store.connection.link import Argument, Reply
    from aiostreamq.store.queue import QueueStore

# How many letters are read at once, whatever is looked for: each may have
# 16 KiB of traceback.
PAGE = 500

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
    """Which letters are meant, by their ids; both ends are part of it."""

    oldest: str = "-"
    newest: str = "+"


class Replay(NamedTuple):
    """A letter whose job is to run again, in the order of the replay script's arguments."""

    letter: str
    job_id: str
    stream: int  #: place of the stream among the queue's, from 1
    mark: str  #: a Mark: whether a result is kept
    envelope: bytes
    history: bytes


class Replayed(IntEnum):
    """What became of a letter that was to be replayed."""

    DONE = 1  #: its job runs again
    GONE = 0  #: there is no such letter any more
    REFUSED = -1  #: its id belongs to another job by now


class DeadLetterStore:
    """What can be done to the dead letters of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._dead = queue.keys.dead

    async def now_ms(self) -> int:
        """Milliseconds since 1970, by Redis's clock, as the ids of letters are."""
        await self._queue.open()
        await self._queue.clock.refresh()
        return self._queue.clock.now_ms()

    async def count(self) -> int:
        """How many letters there are."""
        return cast("int", await self._ask("XLEN", self._dead))

    async def last_id(self) -> str | None:
        """The id of the newest letter."""
        async for page in self.newest_first(Span(), 1):
            return page[0].id
        return None

    async def find(self, letter_id: str) -> "DeadLetter | None":
        """The letter of that id."""
        found = _letters(await self._ask("XRANGE", self._dead, letter_id, letter_id))
        return found[0] if found else None

    async def newest_first(
        self, span: Span, size: int = PAGE
    ) -> "AsyncGenerator[list[DeadLetter], None]":
        """Give all letters of *span* in pages of *size*."""
        newest = span.newest
        while True:
            found = await self._ask("XREVRANGE", self._dead, newest, span.oldest, "COUNT", size)
            page = _letters(found)
            if page:
                yield page
                newest = f"({page[-1].id}"
            if len(page) < size:
                return

    async def oldest_first(self, span: Span) -> "AsyncGenerator[list[DeadLetter], None]":
        """Give all letters of *span* in pages, as many as one call may change."""
        oldest = span.oldest
        while True:
            page = _letters(
                await self._ask("XRANGE", self._dead, oldest, span.newest, "COUNT", LETTERS_LIMIT)
            )
            if page:
                yield page
                oldest = f"({page[-1].id}"
            if len(page) < LETTERS_LIMIT:
                return

    async def replay(self, revivals: "Sequence[Replay]") -> list[Replayed]:
        """Let the jobs of at most LETTERS_LIMIT letters run again."""
        arguments: list[Argument] = [self._queue.keys.prefix]
        for revival in revivals:
            arguments += revival._replace(stream=revival.stream + 1)
        keys = [self._dead, *self._queue.streams]
        answers = await self._queue.run("replay_dead_letters", keys, arguments)
        return [Replayed(answer) for answer in cast("list[int]", answers)]

    async def purge(self, letter_ids: "Sequence[str]") -> int:
        """Throw at most LETTERS_LIMIT letters away; returns how many there were."""
        return cast("int", await self._queue.run("delete_dead_letters", [self._dead], letter_ids))

    async def _ask(self, *command: "Argument") -> "Reply":
        # Opened first, as that gives up where there is no Redis at all.
        await self._queue.open()
        return await self._queue.call(*command)


def _letters(reply: "Reply") -> "list[DeadLetter]":
    entries = cast("list[tuple[bytes, list[bytes]]]", reply)
    return [parse_letter(entry, fields) for entry, fields in entries]
