"""Stopping what was asked for: cancelled jobs, and tasks and lanes that are paused."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import EntryRef
from aiostreamq.model.keys import GROUP
from aiostreamq.store.inspect.stream_info import last_delivered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence

    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many jobs a call cancels: some 2 ms of Redis.
CANCEL_LIMIT = 100

# How long the outcome of a cancelled job is kept where its envelope does not say. The
# option of its task is known to the workers, and none may ever see the job.
KEEP_CANCELLED_MS = 3600 * 1000


# How many jobs one look brings.
PAGE = 200


class FoundJob(NamedTuple):
    """A job that has not ended, as it is found where it waits or runs."""

    job_id: str
    envelope: bytes
    since_ms: int  #: when it was put there; 0 where nothing tells


class Cancellation:
    """What can be said about jobs that are on their way."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def cancel(
        self, job_ids: "Sequence[str]", states: "Iterable[str]" = ()
    ) -> "list[bytes | None]":
        """End jobs; returns for each where it was caught, as cancel.lua tells it.

        Args:
            job_ids: Any number of them.
            states: Only of jobs in these; empty is any.
        """
        answers: list[bytes | None] = []
        keys = [self._keys.delayed, self._keys.control, self._keys.cancelled]
        for start in range(0, len(job_ids), CANCEL_LIMIT):
            arguments: list[Argument] = [GROUP, self._keys.prefix, KEEP_CANCELLED_MS]
            arguments += [" ".join(states), *job_ids[start : start + CANCEL_LIMIT]]
            found = await self._queue.run("cancel", keys, arguments)
            answers += cast("list[bytes | None]", found)
        return answers

    async def cancelled_among(self, job_ids: "Sequence[str]") -> set[str]:
        """Which of some jobs that have not ended are to be cancelled."""
        if not job_ids:
            return set()
        scores = await self._queue.call("ZMSCORE", self._keys.cancelled, *job_ids)
        found = zip(job_ids, cast("list[bytes | None]", scores), strict=True)
        return {job_id for job_id, asked in found if asked is not None}

    async def open_jobs(
        self, states: "Collection[str]", parked_for: "Iterable[str]"
    ) -> "AsyncGenerator[list[FoundJob], None]":
        """Give the jobs in some *states* in pages, those parked for some tasks only.

        What is in a stream is given where one of its states is asked for: which of them it
        is in, Redis says when it is asked to do something about it.
        """
        if "delayed" in states:
            async for page in self._delayed():
                yield page
        if "parked" in states:
            for task in parked_for:
                async for page in self._in_stream(f"{self._keys.prefix}parked:{task}", "-", "+"):
                    yield page
        if not {"queued", "running"} & set(states):
            return
        for stream in self._queue.streams:
            last = await self._last_delivered(stream)
            first = "-" if "running" in states else f"({last}"
            end = "+" if "queued" in states else last
            async for page in self._in_stream(stream, first, end):
                yield page

    async def _delayed(self) -> "AsyncGenerator[list[FoundJob], None]":
        # By score, and not by place: what is cancelled is gone from it.
        after, passed = "-inf", 0
        while True:
            told = await self._queue.call(
                "ZRANGEBYSCORE", self._keys.delayed, after, "+inf", "WITHSCORES",
                "LIMIT", passed, PAGE,
            )  # fmt: skip
            flat = [part.decode() for part in cast("list[bytes]", told)]
            ids, scores = flat[::2], flat[1::2]
            if not ids:
                return
            envelopes = await asyncio.gather(
                *(self._queue.call("HGET", self._keys.job(job_id), "p") for job_id in ids)
            )
            found = zip(ids, cast("list[bytes | None]", envelopes), strict=True)
            yield [FoundJob(job_id, one, 0) for job_id, one in found if one is not None]
            if scores[-1] == after:
                passed += await self._left(ids)
            else:
                after = scores[-1]
                passed = await self._left(
                    [i for i, s in zip(ids, scores, strict=True) if s == after]
                )

    async def _left(self, ids: "Sequence[str]") -> int:
        """How many of some delayed jobs are so still."""
        scores = await self._queue.call("ZMSCORE", self._keys.delayed, *ids)
        return sum(score is not None for score in cast("list[bytes | None]", scores))

    async def _in_stream(
        self, stream: str, first: str, end: str
    ) -> "AsyncGenerator[list[FoundJob], None]":
        while True:
            told = await self._queue.call("XRANGE", stream, first, end, "COUNT", PAGE)
            entries = cast("list[tuple[bytes, list[bytes]]]", told)
            yield [_found(entry, fields) for entry, fields in entries if is_job(fields)]
            if len(entries) < PAGE:
                return
            first = f"({entries[-1][0].decode()}"

    async def _last_delivered(self, stream: str) -> str:
        return last_delivered(await self._queue.call("XINFO", "GROUPS", stream))

    def entries_in(self, word: "Mapping[str, str]") -> list[EntryRef]:
        """The entries that a word names."""
        told = word.get("entries", "").split()
        found: list[EntryRef] = []
        for lane, entry in zip(told[::2], told[1::2], strict=False):
            with suppress(UsageError):  # a lane of others, with the same queue
                found.append((self._queue.place_of(lane), entry.encode()))
        return found


def is_job(fields: "Sequence[bytes]") -> bool:
    """Whether an entry begins as those of jobs do."""
    return len(fields) >= 6 and (fields[0], fields[4]) == (b"id", b"job")


def _found(entry: bytes, fields: "Sequence[bytes]") -> FoundJob:
    # As enqueue.lua writes it: id, its value, n, its value, job, its value.
    since = int(entry.decode().partition("-")[0])
    return FoundJob(fields[1].decode(errors="replace"), fields[5], since)
