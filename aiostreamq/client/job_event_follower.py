"""Followed job events: one blocking read for all jobs that a process follows.

Each followed job has a buffer. A read asks for the jobs whose buffers have room, from the last
entry that each has. So a broken connection loses nothing: the next read asks for the same
entries. If a job must be read that the current read does not ask for, that read is interrupted.
"""

import asyncio
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError, QueueUnavailable
from aiostreamq.store.connection.blocking_read import BlockingRead
from aiostreamq.store.connection.link import CallTooLarge, LinkCut, LinkLost
from aiostreamq.store.job_events import EventStreams
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiostreamq.model.job_events import Entry
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.job_events import Place
    from aiostreamq.store.queue import QueueStore

# Milliseconds that a read blocks. At its end, an idle process also notices that its
# connection has died. Events end a read at once.
BLOCK_MS = 5000

# The most entries of a job that one read returns; fewer if entries are long. A buffer that is half
# full has no room, so that a slow consumer does not interrupt the read for each entry.
ENTRIES = 16

# How many jobs a read asks for at least, however long their entries are, unless Redis cuts the
# reply: a thousand jobs take a hundred reads, and eight entries of a megabyte take some
# milliseconds of Redis.
FEW = 8


class FollowedJob:
    """One iteration over the events of a job."""

    __slots__ = ("_news", "entries", "error", "job_id", "place")

    def __init__(self, job_id: str, place: "Place") -> None:
        self.job_id = job_id
        self.place = place  #: the place of the last entry that was put in
        self.entries: deque[Entry] = deque()  #: the entries that were not consumed yet
        self.error: Exception | None = None  #: the reason why no more will come
        self._news: asyncio.Future[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether to read more entries."""
        return len(self.entries) < ENTRIES // 2

    def put(self, entries: "list[Entry]") -> None:
        """Add those of *entries* that are new."""
        for entry in entries:
            if entry.place > self.place:
                self.place = entry.place
                self.entries.append(entry)
        self.wake()

    def wake(self, _: object = None) -> None:
        """Make the iteration look again."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def wait_news(self) -> None:
        """Wait until `wake` is called. Cancelling is safe."""
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None


class EventFollower:
    """Reads job events for all iterations in this process."""

    def __init__(self, store: "QueueStore") -> None:
        self._streams = EventStreams(store)
        self._blocking = BlockingRead(
            store.connector, "events", BLOCK_MS / 1000, unblock=store.unblock
        )
        self._size = ReadSize()  # how many entries of all jobs a read may return
        self._few = FEW
        self._followings: set[FollowedJob] = set()
        self._reading: asyncio.Task[None] | None = None
        self._work = asyncio.Event()  # set if there may be something to read
        self._is_closed = False

    async def follow(
        self, job_id: str, place: "Place", ending: "asyncio.Task[object]"
    ) -> "AsyncGenerator[Entry, None]":
        """Yield the entries of a job after *place*, until it has ended and all were read.

        Args:
            job_id: The job's id.
            place: The place of the last entry that was read.
            ending: Done when the job has ended.

        Raises:
            BrokerError: Redis refused, or the queue was closed.
        """
        following = FollowedJob(job_id, place)
        ending.add_done_callback(following.wake)
        self._followings.add(following)
        self._wake()
        try:
            while not ending.done() or following.entries:
                if not following.entries:
                    if following.error is not None:
                        raise following.error
                    await following.wait_news()
                    continue
                had_room = following.has_room
                yield following.entries.popleft()
                if not had_room and following.has_room:
                    self._wake()
        finally:
            ending.remove_done_callback(following.wake)
            self._followings.discard(following)
        if _was_closed(ending):
            return
        # All its entries were in Redis before its end.
        while rest := await self._read_rest(job_id, following.place):
            for entry in rest:
                following.place = entry.place
                yield entry

    def close(self) -> None:
        """Stop reading; current iterations get QueueUnavailable."""
        self._is_closed = True
        self._blocking.close()
        if self._reading is not None:
            self._reading.cancel()
        self._fail(QueueUnavailable("the queue was closed while a job was followed"))

    async def wait_closed(self) -> None:
        """Wait until everything has stopped after `close`."""
        await self._blocking.join()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def abandon(self) -> None:
        """Drop the connection of an event loop that is not running."""
        self._is_closed = True
        self._blocking.abandon()

    def _wake(self) -> None:
        """Start a read soon that asks for every job with room."""
        self._work.set()
        if self._is_closed:
            self._fail(QueueUnavailable("the queue was closed: open it, and ask queue.job(id)"))
        elif self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="aiostreamq:events")
        else:
            self._blocking.interrupt()

    async def _read(self) -> None:
        try:
            while True:
                await self._work.wait()
                asked, entries = await self._blocking.persist(self._read_once)
                for following in self._followings:
                    job_id = following.job_id
                    # An iteration that began since may need earlier entries than were asked for.
                    if job_id in entries and following.place >= asked[job_id]:
                        following.put(entries[job_id])
        except Exception as error:  # noqa: BLE001  # whatever it is, the iterations get it
            self._reading = None
            self._fail(error)

    async def _read_once(self, link: "Link") -> "tuple[dict[str, Place], dict[str, list[Entry]]]":
        """Return the places that the read began after, and the entries after them, by job."""
        wanted: dict[str, Place] = {}
        for one in self._followings:
            if one.has_room:
                wanted[one.job_id] = min(one.place, wanted.get(one.job_id, one.place))
        if not wanted:
            self._work.clear()
            return {}, {}
        entries = await self._read_long(link, wanted)
        if not entries:
            count = self._count(len(wanted))
            entries = await self._ask(link, wanted, count, BLOCK_MS)
        return wanted, entries

    async def _read_long(
        self, link: "Link", wanted: "dict[str, Place]"
    ) -> "dict[str, list[Entry]]":
        """Read without waiting, if one entry of each job would be far more than a megabyte.

        Redis replies to a read that has nothing to wait for with the entries of all its jobs.
        """
        found: dict[str, list[Entry]] = {}
        at_once = max(self._size.most, self._few)
        if len(wanted) <= at_once:
            return found
        jobs = list(wanted.items())
        for start in range(0, len(jobs), at_once):
            found.update(await self._ask(link, dict(jobs[start : start + at_once]), 1, None))
        return found

    async def _ask(
        self, link: "Link", jobs: "dict[str, Place]", count: int, block_ms: int | None
    ) -> "dict[str, list[Entry]]":
        """Read *count* entries of each job at most; the next read asks for half if this is cut."""
        reading = self._streams.wait(link, jobs, count, block_ms)
        try:
            entries = await (reading if block_ms is None else self._blocking.wait(reading))
        except LinkCut as error:
            if (asked := count * len(jobs)) == 1:
                raise  # if that happens again and again, the entry is too long
            self._size.halve(asked)
            self._few = max(1, self._few // 2)
            raise LinkLost(str(error)) from error
        self._note(list(chain.from_iterable(entries.values())))
        return entries

    async def _read_rest(self, job_id: str, place: "Place") -> "list[Entry]":
        """Read entries of a job that has ended."""
        while True:
            count = self._count(1)
            try:
                entries = await self._streams.after(job_id, place, count)
            except CallTooLarge:
                if count == 1:
                    raise
                self._size.halve(count)
            else:
                self._note(entries)
                return entries

    def _count(self, jobs: int) -> int:
        """Return how many entries of each of some jobs to ask for: about a megabyte of all."""
        return max(1, min(ENTRIES, self._size.most // jobs))

    def _note(self, entries: "list[Entry]") -> None:
        """Learn from a read how long entries are."""
        self._size.note(len(entries), sum(len(one.events) for one in entries))

    def _fail(self, error: Exception) -> None:
        for following in self._followings:
            following.error = error
            following.wake()


def _was_closed(ending: "asyncio.Task[object]") -> bool:
    return ending.cancelled() or isinstance(ending.exception(), BrokerError)
