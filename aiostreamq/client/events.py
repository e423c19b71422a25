"""Following what jobs say: one blocking read for all that a process follows.

Each follower has a buffer. The read asks for the jobs whose buffers have room, from where
each has got to, so that a connection that breaks costs nothing: the next read asks the
same. When a job is to be read that the present read has not asked for, that one is ended.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiostreamq.errors import BrokerError, QueueUnavailable
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.events import EventStreams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiostreamq.model.events import Entry
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.events import Place
    from aiostreamq.store.queue import QueueStore

# Milliseconds. The end of a read is also when an idle process finds out that its
# connection has died; events do not wait for it.
BLOCK_MS = 5000

# Seconds beyond the block before the connection is taken for dead.
MARGIN = 5.0

# Seconds between asking for the end of a read, which may not have arrived there yet.
UNBLOCK_AGAIN = 0.005

# Entries of a job that one read brings at most; each may have some 100 KiB. A buffer
# with half as many has no room: those who are slow do not end the read for each entry.
ENTRIES = 16


class FollowedJob:
    """One who follows a job."""

    __slots__ = ("_news", "entries", "error", "job_id", "place")

    def __init__(self, job_id: str, place: "Place") -> None:
        self.job_id = job_id
        self.place = place  #: of the entry that was put in last
        self.entries: deque[Entry] = deque()  #: not yet taken
        self.error: Exception | None = None  #: why no more will come
        self._news: asyncio.Future[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether to read on."""
        return len(self.entries) < ENTRIES // 2

    def put(self, entries: "list[Entry]") -> None:
        """Take what is new of *entries*."""
        for entry in entries:
            if entry.place > self.place:
                self.place = entry.place
                self.entries.append(entry)
        self.wake()

    def wake(self, _: object = None) -> None:
        """Have whoever follows look again."""
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
    """Reads what jobs say, for all who follow any in this process."""

    def __init__(self, broker: "QueueStore") -> None:
        self._broker = broker
        self._streams = EventStreams(broker)
        self._line = ReconnectingLink(
            broker.connector, "events", reply_timeout=BLOCK_MS / 1000 + MARGIN
        )
        self._followings: set[FollowedJob] = set()
        self._reading: asyncio.Task[None] | None = None
        self._unblocking: asyncio.Task[None] | None = None
        self._work = asyncio.Event()  # there may be something to read
        self._link: Link | None = None  # the one that was read from last
        self._client_id = 0
        self._is_blocked = False  # a read is on its way
        self._is_stale = False  # it does not ask for all that is wanted
        self._is_closed = False

    async def follow(
        self, job_id: str, place: "Place", ending: "asyncio.Task[object]"
    ) -> "AsyncGenerator[Entry, None]":
        """Give what a job says after the entry at *place*, until it has ended and all is read.

        Args:
            job_id: Of the job.
            place: Of the entry that was read last.
            ending: Is done when the job has ended.

        Raises:
            BrokerError: Redis refused, or the queue was closed.
        """
        following = FollowedJob(job_id, place)
        ending.add_done_callback(following.wake)
        self._followings.add(following)
        self._rouse()
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
                    self._rouse()
        finally:
            ending.remove_done_callback(following.wake)
            self._followings.discard(following)
        if _was_closed(ending):
            return
        # All that it has said was in Redis before its end.
        while rest := await self._streams.after(job_id, following.place, ENTRIES):
            for entry in rest:
                following.place = entry.place
                yield entry

    def close(self) -> None:
        """Read no more; whoever still follows gets QueueUnavailable."""
        self._is_closed = True
        self._line.close()
        for task in self._tasks():
            task.cancel()
        self._fail(QueueUnavailable("the queue was closed while a job was followed"))

    async def wait_closed(self) -> None:
        """Wait until nothing goes on after `close`."""
        if ending := self._tasks():
            await asyncio.wait(ending)

    def abandon(self) -> None:
        """Let go of the connection of an event loop that does not run."""
        self._is_closed = True
        self._line.abandon()

    def _tasks(self) -> "list[asyncio.Task[None]]":
        return [task for task in (self._reading, self._unblocking) if task is not None]

    def _rouse(self) -> None:
        """See to it that the next read asks for all that is wanted, and comes soon."""
        self._is_stale = True
        self._work.set()
        if self._is_closed:
            self._fail(QueueUnavailable("the queue was closed: open it, and ask queue.job(id)"))
        elif self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="aiostreamq:events")
        elif self._is_blocked and self._unblocking is None:
            self._unblocking = asyncio.create_task(self._unblock(), name="aiostreamq:unblock")

    async def _read(self) -> None:
        try:
            while True:
                await self._work.wait()
                asked, said = await self._line.persist(self._read_once)
                for following in self._followings:
                    job_id = following.job_id
                    # One who has come since may be further back than what was asked for.
                    if job_id in said and following.place >= asked[job_id]:
                        following.put(said[job_id])
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who follows
            self._reading = None
            self._fail(error)

    async def _read_once(self, link: "Link") -> "tuple[dict[str, Place], dict[str, list[Entry]]]":
        """Return from where was asked, by job, and what was said after it."""
        if link is not self._link:
            self._client_id = int(str(await link.call("CLIENT", "ID")))
            self._link = link
        self._is_stale = False
        wanted: dict[str, Place] = {}
        for one in self._followings:
            if one.has_room:
                wanted[one.job_id] = min(one.place, wanted.get(one.job_id, one.place))
        if not wanted:
            self._work.clear()
            return {}, {}
        self._is_blocked = True
        try:
            return wanted, await self._streams.wait(link, wanted, ENTRIES, BLOCK_MS)
        finally:
            self._is_blocked = False

    async def _unblock(self) -> None:
        try:
            while self._is_stale and self._is_blocked:
                await self._broker.unblock(self._client_id)
                await asyncio.sleep(UNBLOCK_AGAIN)
        except BrokerError:
            pass  # the read has its own connection, and its own end
        finally:
            self._unblocking = None

    def _fail(self, error: Exception) -> None:
        for following in self._followings:
            following.error = error
            following.wake()


def _was_closed(ending: "asyncio.Task[object]") -> bool:
    return ending.cancelled() or isinstance(ending.exception(), BrokerError)
