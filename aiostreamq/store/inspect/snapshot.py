"""Reading the state of a queue, without changing it and without scanning all keys."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP
from aiostreamq.model.pauses import holding
from aiostreamq.model.stored import number
from aiostreamq.model.stream_ids import later
from aiostreamq.store.inspect.views import Fields, HeldView, LaneView, Pending, Tasks, View
from aiostreamq.store.inspect.walk import PAGE, Walk
from aiostreamq.store.pages import ask_each
from aiostreamq.store.queue import pairs_of
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from aiostreamq.store.connection.link import Argument, Reply
    from aiostreamq.store.inspect.walk import Entry
    from aiostreamq.store.queue import QueueStore

# How many jobs of each kind in each lane are sampled for their tasks, and how many bytes of
# payload are read for that: some 2 ms of Redis at worst.
SAMPLE = 100
SAMPLE_BYTES = 256 * 1024

# How many counters are read in one step: about 0.3 ms of Redis.
TOTALS_PAGE = 1000


class Snapshots:
    """Reads the state of one queue.

    It has many methods, one for each thing that there is to see.
    """

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys
        self._walk = Walk(queue)

    async def view(self) -> View:
        """Return how many jobs there are, where, and of which tasks, all at one moment."""
        queue, keys = self._queue, self._keys
        reply = await queue.run(
            "queue_snapshot",
            [keys.delayed, keys.dead, keys.parked, *queue.streams],
            [GROUP, keys.prefix, SAMPLE, SAMPLE_BYTES],
        )
        now_ms, delayed, due_ms, delayed_tasks, dead, dead_tasks, parked, held, *lanes = cast(
            "tuple[int, int, int, Reply, int, Reply, Reply, Reply, Reply]", reply
        )
        queue.clock.set(now_ms)
        return View(
            now_ms,
            delayed,
            due_ms,
            _tasks(delayed_tasks),
            dead,
            _tasks(dead_tasks),
            _tasks(parked),
            [_lane(n, f) for n, f in zip(queue.stream_names, lanes, strict=True)],
            _held(held),
        )

    async def stats(self, minutes: "Sequence[int]") -> "list[Iterable[tuple[bytes, bytes]]]":
        """Return the counters of some minutes, given as minutes since 1970: fields and values."""
        replies = await asyncio.gather(
            *(self._ask("HGETALL", self._keys.stats(minute)) for minute in minutes)
        )
        flats = cast("list[list[bytes]]", replies)
        return [zip(flat[::2], flat[1::2], strict=True) for flat in flats]

    async def workers(self) -> "list[tuple[str, str, bytes | None]]":
        """Return every worker: its name, its beat, and what it reported about itself."""
        beats = pairs_of(cast("list[bytes]", await self._ask("HGETALL", self._keys.workers)))
        if not beats:
            return []
        reply = await self._ask("MGET", *map(self._keys.worker, beats))
        reports = cast("list[bytes | None]", reply)
        return [(name, beats[name], report) for name, report in zip(beats, reports, strict=True)]

    async def paused(self, deadline: float | None = None) -> "Mapping[str, int]":
        """Return until when in ms tasks and lanes are paused; 0 is until they are resumed.

        Pauses whose time is up are left out, but not ended here.

        Raises:
            QueueUnavailable: *deadline* seconds have passed.
        """
        await self._queue.open()
        reply = await self._queue.call("HGETALL", self._keys.paused, deadline=deadline)
        return holding(pairs_of(cast("list[bytes]", reply)), self._queue.clock.now_ms())

    async def now_ms(self) -> int:
        """Return milliseconds since 1970, by Redis's clock."""
        await self._queue.open()
        await self._queue.clock.refresh()
        return self._queue.clock.now_ms()

    async def entries(
        self, stream: str, after: str, *, newest_first: bool = False, newest: str = "+"
    ) -> "AsyncGenerator[Fields, None]":
        """Yield the entries of a stream after an id; or all from *newest* to it, newest first."""
        walk = self._walk
        pages = (
            walk.newest_first(stream, after, newest)
            if newest_first
            else walk.entries(stream, f"({after}")
        )
        async with aclosing(pages):
            async for page in pages:
                for one in _entries(page):
                    yield one

    def recent(self) -> "AsyncGenerator[Fields, None]":
        """Yield what ended lately, newest first."""
        return self.entries(self._keys.recent, "0", newest_first=True)

    async def waiting(self, stream: str, after: str = "0-0") -> "AsyncGenerator[Fields, None]":
        """Yield the entries of a stream after an id that no worker was sent, oldest first.

        Entries of cancelled jobs are left out: they are only there to be discarded.
        """
        delivered = await self._walk.last_delivered(stream)
        start = later(delivered, after)
        async with aclosing(self._walk.entries(stream, f"({start}")) as pages:
            async for page in pages:
                for one in await self._uncancelled(_entries(page)):
                    yield one

    async def _uncancelled(self, page: list[Fields]) -> list[Fields]:
        ids = [one.fields.get(b"id", b"") for one in page]
        scores = await self._ask("ZMSCORE", self._keys.cancelled, *ids)
        found = zip(page, cast("list[bytes | None]", scores), strict=True)
        return [one for one, asked in found if asked is None]

    async def has_cancelled(self) -> bool:
        """Return whether there are cancelled jobs that run, or that no worker was sent yet."""
        return await self._ask("EXISTS", self._keys.cancelled) == 1

    async def entry(self, stream: str, entry: str) -> "Fields | None":
        """Return one entry of a stream, or None."""
        found = await self._ask("XRANGE", stream, entry, entry)
        page = _entries(cast("list[Entry]", found))
        return page[0] if page else None

    async def pending(
        self, stream: str, after: str = ""
    ) -> "AsyncGenerator[tuple[Pending, Fields], None]":
        """Yield what workers have of a stream after an id, with the entries, oldest first."""
        start, size = f"({after}" if after else "-", ReadSize()
        while True:
            reply = await self._ask("XPENDING", stream, GROUP, start, "+", PAGE)
            rows = cast("list[tuple[bytes, bytes, int, int]]", reply)
            page = [Pending(e.decode(), w.decode(), idle) for e, w, idle, _ in rows]
            ids = [one.entry for one in page]
            entries = await ask_each(partial(self.entry, stream), ids, _size_of_entry, size)
            for one, entry in zip(page, entries, strict=True):
                if entry is not None:
                    yield one, entry
            if len(page) < PAGE:
                return
            start = f"({page[-1].entry}"

    async def owner(self, stream: str, entry: str) -> "Pending | None":
        """Return which worker has an entry, or None."""
        found = await self._ask("XPENDING", stream, GROUP, entry, entry, 1)
        for one, worker, idle_ms, _ in cast("list[tuple[bytes, bytes, int, int]]", found):
            return Pending(one.decode(), worker.decode(), idle_ms)
        return None

    async def delayed(
        self, due: bytes = b"-inf", passed: int = 0
    ) -> "AsyncGenerator[tuple[str, int, Mapping[bytes, bytes]], None]":
        """Yield the delayed jobs, first due first: id, when it is due (ms), its hash.

        Begins with the jobs due at *due*, without *passed* of them.
        """
        size = ReadSize()
        async with aclosing(self._walk.delayed(due, passed)) as pages:
            async for page in pages:
                ids = [job_id for job_id, _ in page]
                hashes = await ask_each(self.job, ids, _size_of_hash, size)
                for (job_id, due_ms), fields in zip(page, hashes, strict=True):
                    yield job_id, due_ms, fields

    async def held(self) -> "AsyncGenerator[tuple[str, Mapping[bytes, bytes]], None]":
        """Yield the held jobs, those of one backlog in their order: id, its hash."""
        size = ReadSize()
        async with aclosing(self._walk.held()) as pages:
            async for page in pages:
                ids = [one.job_id for one in page]
                for job_id, fields in zip(
                    ids, await ask_each(self.job, ids, _size_of_hash, size), strict=True
                ):
                    if fields.get(b"s") == b"held":
                        yield job_id, fields

    async def job(self, job_id: str) -> "Mapping[bytes, bytes]":
        """Return the hash of a job; empty if there is none."""
        return _pairs(await self._ask("HGETALL", self._keys.job(job_id)))

    async def due_ms(self, job_id: str) -> int | None:
        """Return when a delayed job is due, or None."""
        score = await self._ask("ZSCORE", self._keys.delayed, job_id)
        return None if score is None else int(float(cast("bytes", score)))

    async def key_holder(self, digest: bytes) -> str | None:
        """Return the id of the job that is noted for a key, which may have ended; or None."""
        found = await self._ask("HGET", self._keys.unique, digest)
        return None if found is None else cast("bytes", found).decode(errors="replace")

    async def parked_tasks(self) -> list[str]:
        """Return the tasks that jobs are parked for."""
        names = cast("list[bytes]", await self._ask("SMEMBERS", self._keys.parked))
        return sorted(name.decode() for name in names)

    async def _ask(self, *command: "Argument") -> "Reply":
        # Opened first, because that gives up if Redis cannot be reached.
        await self._queue.open()
        return await self._queue.call(*command)


async def totals_of(queue: "QueueStore") -> "Mapping[bytes, bytes]":
    """Return the counters since a queue began: fields and values. Read page by page."""
    await queue.open()  # first, because that gives up if Redis cannot be reached
    found: dict[bytes, bytes] = {}
    cursor = b"0"
    while True:
        reply = await queue.call("HSCAN", queue.keys.totals, cursor, "COUNT", TOTALS_PAGE)
        cursor, flat = cast("tuple[bytes, list[bytes]]", reply)
        found.update(zip(flat[::2], flat[1::2], strict=True))
        if cursor == b"0":
            return found


def _lane(name: str, reply: "Reply") -> LaneView:
    waiting, running, oldest, waiting_tasks, running_tasks = cast(
        "tuple[int, int, bytes, Reply, Reply]", reply
    )
    return LaneView(
        name, waiting, running, oldest.decode(), _tasks(waiting_tasks), _tasks(running_tasks)
    )


def _held(reply: "Reply") -> HeldView:
    by_lane, ready, sampled, ready_tasks, blocked_tasks = cast(
        "tuple[list[bytes], int, int, Reply, Reply]", reply
    )
    counts = {lane: number(count.encode(), 0) for lane, count in pairs_of(by_lane).items()}
    return HeldView(
        {lane: count for lane, count in counts.items() if count > 0},
        ready,
        sampled,
        _tasks(ready_tasks),
        _tasks(blocked_tasks),
    )


def _tasks(reply: "Reply") -> Tasks:
    flat = cast("list[bytes | int]", reply)
    names = [cast("bytes", name).decode(errors="replace") for name in flat[::2]]
    return dict(zip(names, cast("list[int]", flat[1::2]), strict=True))


def _size_of_entry(entry: "Fields | None") -> int:
    return 0 if entry is None else _size_of_hash(entry.fields)


def _size_of_hash(fields: "Mapping[bytes, bytes]") -> int:
    return sum(map(len, fields.values()))


def _entries(page: "Sequence[Entry]") -> list[Fields]:
    return [Fields(entry.decode(), _pairs(cast("Reply", flat))) for entry, flat in page]


def _pairs(reply: "Reply") -> "Mapping[bytes, bytes]":
    flat = cast("list[bytes]", reply)
    return dict(zip(flat[::2], flat[1::2], strict=False))
