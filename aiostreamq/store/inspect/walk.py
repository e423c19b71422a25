"""Walking over the jobs of a queue page by page, while they come and go."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.backlog_names import HeldJob, task_of_backlog
from aiostreamq.store.inspect.stream_info import last_delivered
from aiostreamq.store.pages import Entry, ask_each, pages_of
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable

    from aiostreamq.store.queue import QueueStore

# How many jobs are looked up at once, without their payloads; pages with payloads are shorter.
PAGE = 100

# How many backlogs one step of a scan looks at.
STEP = 1000

#: An entry of a stream: its id, and its fields and values in turn.


class OpenJob(NamedTuple):
    """A job that has not ended: it waits or runs."""

    job_id: str
    envelope: bytes
    since_ms: int  #: when it was put there; 0 if that is unknown


class Walk:
    """Reads the jobs of one queue in pages. Jobs that come or go during a walk may be missed."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def entries(
        self, stream: str, first: str = "-", last: str = "+"
    ) -> "AsyncGenerator[list[Entry], None]":
        """Yield the entries of a stream, oldest first.

        Args:
            stream: The key of the stream.
            first: The id to begin with; "(<id>" begins after it.
            last: The id to end with.
        """
        async for page in pages_of(self._queue, "XRANGE", stream, first, last, PAGE):
            yield page

    async def newest_first(
        self, stream: str, oldest: str, newest: str = "+"
    ) -> "AsyncGenerator[list[Entry], None]":
        """Yield the entries of a stream from the id *newest* down to *oldest*, newest first."""
        async for page in pages_of(self._queue, "XREVRANGE", stream, newest, oldest, PAGE):
            yield page

    async def last_delivered(self, stream: str) -> str:
        """Return the id of the last entry of a stream that a worker was sent."""
        await self._queue.open()
        return last_delivered(await self._queue.call("XINFO", "GROUPS", stream))

    async def range_of(self, stream: str, states: "Collection[str]") -> tuple[str, str]:
        """Return between which entries of a stream its jobs in some *states* are."""
        if {"queued", "running"} <= set(states):
            return "-", "+"
        delivered = await self.last_delivered(stream)
        return ("-", delivered) if "running" in states else (f"({delivered}", "+")

    async def delayed(
        self, due: bytes = b"-inf", passed: int = 0
    ) -> "AsyncGenerator[list[tuple[str, int]], None]":
        """Yield the delayed jobs, first due first, as (id, when it is due in ms).

        The caller may cancel the jobs of a page before it asks for the next one.

        Args:
            due: Begin with the jobs that are due at this time, in ms.
            passed: How many of them to leave out.
        """
        async for page in self._by_score(self._keys.delayed, due, passed):
            yield page

    async def held(self, task: str | None = None) -> "AsyncGenerator[list[HeldJob], None]":
        """Yield the held jobs of a task, or of all; those of one backlog in their order.

        The caller may cancel the jobs of a page before it asks for the next one.
        """
        names = [name for name in await self._backlogs() if task in (None, task_of_backlog(name))]
        for start in range(0, len(names), PAGE):
            some = names[start : start + PAGE]
            firsts = await asyncio.gather(*map(self._first_of_backlog, some))
            short = [
                HeldJob(job_id, place, name)
                for name, first in zip(some, firsts, strict=True)
                for job_id, place in first
                if len(first) < PAGE
            ]
            if short:
                yield short
            for name, first in zip(some, firsts, strict=True):
                if len(first) == PAGE:
                    async for page in self._by_score(self._keys.backlog(name)):
                        yield [HeldJob(job_id, place, name) for job_id, place in page]

    async def _backlogs(self) -> list[str]:
        """Return the names of all backlogs that have jobs.

        Those that are ready are looked for twice: a backlog may move there from a limit in between.
        """
        await self._queue.open()
        names = dict.fromkeys(await self._members(self._keys.ready))
        tokens = await self._members(self._keys.due)
        for start in range(0, len(tokens), PAGE):
            some = map(self._keys.blocked, tokens[start : start + PAGE])
            for found in await asyncio.gather(*map(self._members, some)):
                names.update(dict.fromkeys(found))
        names.update(dict.fromkeys(await self._members(self._keys.ready)))
        return list(names)

    async def _members(self, key: str) -> list[str]:
        """Return the members of a sorted set, read in small steps."""
        found, cursor = dict[str, None](), b"0"
        while True:
            reply = await self._queue.call("ZSCAN", key, cursor, "COUNT", STEP)
            cursor, flat = cast("tuple[bytes, list[bytes]]", reply)
            found.update((member.decode(errors="replace"), None) for member in flat[::2])
            if cursor == b"0":
                return list(found)

    async def _first_of_backlog(self, name: str) -> list[tuple[str, int]]:
        key = self._keys.backlog(name)
        flat = cast("list[bytes]", await self._queue.call("ZRANGE", key, 0, PAGE - 1, "WITHSCORES"))
        return [
            (one.decode(), int(float(place)))
            for one, place in zip(flat[::2], flat[1::2], strict=True)
        ]

    async def _by_score(
        self, key: str, first: bytes = b"-inf", passed: int = 0
    ) -> "AsyncGenerator[list[tuple[str, int]], None]":
        """Yield the members of a sorted set page by page, with their scores, the least first.

        The caller may remove those of a page before it asks for the next one.
        """
        await self._queue.open()
        score, seen = first, set[bytes]()  # those seen with the last score
        while True:
            reply = await self._queue.call(
                "ZRANGEBYSCORE", key, score, "+inf", "WITHSCORES", "LIMIT", passed, PAGE
            )
            flat = cast("list[bytes]", reply)
            scores = dict(zip(flat[::2], flat[1::2], strict=True))
            if page := [
                (one.decode(), int(float(scores[one]))) for one in scores if one not in seen
            ]:
                yield page
            if len(scores) < PAGE:
                return
            # Many may have one score: go past those of the last score that are still there.
            last = flat[-1]
            if last != score:
                score, seen, passed = last, set[bytes](), 0
            found = [one for one in scores if scores[one] == last]
            seen.update(found)
            left = await self._queue.call("ZMSCORE", key, *found)
            passed += cast("list[bytes | None]", left).count(last)

    async def jobs_off_lane(
        self, states: "Collection[str]", parked_for: "Iterable[str]", task: str | None = None
    ) -> "AsyncGenerator[list[OpenJob], None]":
        """Yield the jobs that are in no lane.

        Args:
            states: "delayed", "held", "parked": those that are wanted.
            parked_for: The tasks whose parked jobs are wanted.
            task: The task whose held jobs are wanted; None is all.
        """
        if "delayed" in states:
            size = ReadSize()
            async for page in self.delayed():
                yield await self._with_envelopes([(job_id, 0) for job_id, _ in page], size)
        if "held" in states:
            size = ReadSize()
            async for jobs in self.held(task):
                since = [(one.job_id, one.since_ms) for one in jobs]
                yield await self._with_envelopes(since, size)
        if "parked" in states:
            for name in parked_for:
                async for entries in self.entries(self._keys.parked_for(name)):
                    yield _jobs_in(entries)

    async def _with_envelopes(self, jobs: list[tuple[str, int]], size: ReadSize) -> list[OpenJob]:
        ids = [job_id for job_id, _ in jobs]
        found = zip(
            jobs,
            await ask_each(self._envelope, ids, lambda one: len(one or b""), size),
            strict=True,
        )
        return [OpenJob(job_id, one, since) for (job_id, since), one in found if one is not None]

    async def _envelope(self, job_id: str) -> bytes | None:
        found = await self._queue.call("HGET", self._keys.job(job_id), "p")
        return cast("bytes | None", found)


def _jobs_in(entries: list[Entry]) -> list[OpenJob]:
    # As enqueue.lua writes a job: id, its value, n, its value, job, its value. Other programs may
    # write other entries.
    return [
        OpenJob(
            fields[1].decode(errors="replace"), fields[5], int(entry.decode().partition("-")[0])
        )
        for entry, fields in entries
        if len(fields) >= 6 and (fields[0], fields[4]) == (b"id", b"job")
    ]
