"""One queue in Redis: each method is one atomic step."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import GROUP, OVERFLOW, RETURNED, Keys
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import signer_of
from aiostreamq.model.pauses import holding
from aiostreamq.model.stats import tally_of
from aiostreamq.store.connection.clock import ServerClock
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.deliveries import Read, call_both, pairs_of, parse_read
from aiostreamq.store.replies import refusals_of, settled_of
from aiostreamq.store.requeue_deleted import restore
from aiostreamq.store.scripts import SCRIPTS, Script
from aiostreamq.store.subscription import Subscription, standing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery, Settlement, Submission
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.replies import Refusals, Settled

# Seconds that connecting for the first time may take.
OPEN_TIMEOUT = 5.0

# How many items one script call may touch, so that no call keeps Redis from
# its other clients for more than about 2 ms.
ENQUEUE_LIMIT = 500
SUBSCRIBE_LIMIT = 500
SETTLE_LIMIT = 250

# An ended job's id stays taken this long even where its result is not kept, so
# that an enqueue repeated after a lost reply still meets it.
ID_MS = 60_000

# A longer outcome is not copied into the inbox of everyone who waits.
NOTICE_BYTES = 4096

# Notices that nobody fetches are forgotten: they are only hints, the outcome
# is kept under its own key.
INBOX_MS = 60_000

# More than any worker ever holds: its concurrency twice, and what one read brings.
MAX_HELD = 100_000

# About how many dead letters are kept, and for how long: a month is past every holiday
# and a monthly run, and what it was about will hardly be worth running again.
MAX_DEAD = 100_000
MAX_DEAD_AGE_MS = 30 * 24 * 3600 * 1000

# How long the outcome of a job that was given up is kept. Its own option is in
# the envelope, which the scripts do not read.
KEEP_DEAD_MS = 24 * 3600 * 1000


class Broker:
    """Everything that can be done to one queue, over one connection.

    Every method may be repeated: each script recognises what it has done
    before. So all of them try again by themselves when the connection breaks,
    and cancelling one leaves Redis in a state that the next call continues from.
    The first one opens the connection.
    """

    def __init__(
        self,
        connector: "Connector",
        keys: Keys,
        lanes: "Sequence[str]",
        *,
        line: ReconnectingLink | None = None,
    ) -> None:
        self.connector = connector
        self.keys = keys
        self.lanes = tuple(lanes)
        self.stream_names = (RETURNED, *lanes, *OVERFLOW.values())  #: lanes, and the others
        self.streams = [keys.stream(name) for name in self.stream_names]
        self._lane_streams = self.streams[: 1 + len(lanes)]
        self._streams_and_dead = [*self.streams, keys.dead]
        self._lane_places = {name: place for place, name in enumerate(self.stream_names, start=1)}
        self._stream_places = {key.encode(): at for at, key in enumerate(self.streams, start=1)}
        self._line = line or ReconnectingLink(connector, "commands")
        self.clock = ServerClock(self._line)
        self._opening = asyncio.Lock()
        self._server: Server | None = None
        self._scripts: dict[str, Script] = {}

    async def open(self, deadline: float = OPEN_TIMEOUT) -> "Server":
        """Connect, look at the server, and make what is missing; later calls do nothing.

        Args:
            deadline: Seconds after which to stop trying.

        Raises:
            QueueUnavailable: The server can not be reached.
            UnsupportedServer: It is too old.
        """
        async with self._opening:
            if self._server is None:
                server = await self._line.persist(
                    lambda _: self._line.ask_server(), deadline=deadline
                )
                await self._line.persist(self.clock.ask, deadline=deadline)
                self._scripts = {name: Script(name, server) for name in SCRIPTS}
                await self._line.persist(self.set_up, deadline=deadline)
                self._server = server
        return self._server

    async def set_up(self, link: "Link") -> int:
        """Make the streams and groups that are missing, over *link*."""
        return cast("int", await self._scripts["create_groups"].run(link, self.streams, [GROUP]))

    def close(self, *, is_loop_gone: bool = False) -> None:
        """Close the connection; if its event loop is gone, without touching that."""
        (self._line.abandon if is_loop_gone else self._line.close)()

    def place_of(self, lane: str) -> int:
        """The place of *lane* among the streams, from 1.

        Raises:
            UsageError: The queue has no such lane; a job in it would never be read.
        """
        try:
            return self._lane_places[lane]
        except KeyError:
            raise UsageError(
                f"queue {self.keys.queue!r} has no lane {lane!r}: "
                f"name it in Queue(lanes=[...]), so that workers read it"
            ) from None

    def lane_at(self, place: int) -> str | None:
        """The lane at a place that `place_of` gave; None if jobs of all lanes wait there."""
        return self.lanes[place - 2] if 1 < place <= len(self._lane_streams) else None

    async def enqueue(
        self, jobs: "Sequence[Submission]", inbox: str, deadline: float
    ) -> "set[int]":
        """Put *jobs* into their streams; returns the places (from 0) of ids that were taken.

        Raises:
            QueueUnavailable: *deadline* seconds have passed; each job may or may not be in.
            BrokerError: Redis refused.
        """
        return {place - 1 for place in await self._enqueue(jobs, inbox, deadline, 0)}

    async def enqueue_within(
        self, max_length: int, jobs: "Sequence[Submission]", inbox: str, deadline: float
    ) -> "Refusals":
        """Put *jobs* into their streams as far as those hold no more than *max_length* then.

        Raises:
            As `enqueue`.
        """
        return refusals_of(await self._enqueue(jobs, inbox, deadline, max_length))

    async def _enqueue(
        self, jobs: "Sequence[Submission]", inbox: str, deadline: float, max_length: int
    ) -> "list[int]":
        arguments: list[Argument] = [self.keys.prefix, inbox, max_length]
        for job in jobs:
            arguments += job
        return cast("list[int]", await self.run("enqueue", self._lane_streams, arguments, deadline))

    async def subscribe(self, inbox: str, job_ids: "Sequence[str]") -> "list[bytes | Subscription]":
        """Ask that *inbox* is told of the ends of jobs; returns the outcomes that exist already."""
        keys = [self.keys.inbox(inbox)]
        answers = await self.run("subscribe", keys, [self.keys.prefix, inbox, *job_ids])
        return [standing_of(answer) for answer in cast("list[bytes | int | None]", answers)]

    async def echo(self, inbox: str, word: str) -> None:
        """Have *inbox* be told a *word*, behind all that it has been told."""
        await self.run("ping_inbox", [self.keys.inbox(inbox)], [word, INBOX_MS])

    async def settle(self, batch: "Sequence[Settlement]", worker: str) -> "Settled":
        """End what *worker* had. Tries until Redis answers."""
        jobs: list[Argument] = []
        for delivery, keep_ms, outcome, is_dead, _, _ in batch:
            jobs += delivery[:4]  # stream, entry, job id, number
            jobs += (keep_ms, outcome, 1 if is_dead else 0)
        arguments: list[Argument] = [GROUP, self.keys.prefix, ID_MS, NOTICE_BYTES, INBOX_MS]
        arguments += (worker, MAX_DEAD, *jobs)
        told = await self.run("settle", self._streams_and_dead, arguments)
        return settled_of(batch, cast("list[int]", told))

    async def count(self, batch: "Sequence[Settlement]", worker: str, number: int) -> None:
        """Note how jobs have ended, for those who look into the queue; tries as `settle` does.

        Args:
            batch: At most SETTLE_LIMIT of them.
            worker: Who says so; it makes one call at a time.
            number: Another than that of its last call.
        """
        tally = tally_of(batch, self.clock.now_ms(), monotonic())
        if not tally.kinds:
            return
        keys = [self.keys.recent, self.keys.counted(worker)]
        await self.run("record_stats", keys, [self.keys.prefix, number, *tally])

    async def hand_back(self, deliveries: "Sequence[Delivery]", lane: str = RETURNED) -> int:
        """Give deliveries up unfinished, to *lane*; returns how many were still ours."""
        handed = 0
        for start in range(0, len(deliveries), SETTLE_LIMIT):
            some = deliveries[start : start + SETTLE_LIMIT]
            arguments: list[Argument] = [GROUP, self.keys.prefix, self.place_of(lane)]
            for delivery in some:
                arguments += (delivery.stream, delivery.entry)
            done = cast("int", await self.run("requeue", self.streams, arguments))
            if done < len(some):
                # Ended, or with others, or their entries are gone: those need their payloads.
                not_gone = await restore(self, [RetryRequest(delivery, 0) for delivery in some])
                done += len(some) - len(not_gone)
            handed += done
        return handed

    async def bury(
        self, entries: "Sequence[tuple[int, bytes]]", outcome: bytes, worker: str
    ) -> int:
        """Move entries that nobody can read to the dead letters; returns how many.

        A job whose entry it was ends with the outcome.

        Args:
            entries: Of *worker*, as (place of the stream, entry).
            outcome: JSON that says what is wrong with them.
            worker: Who found out.
        """
        keys = [self.keys.dead, *self.streams]
        buried = 0
        for start in range(0, len(entries), SETTLE_LIMIT):
            arguments: list[Argument] = [GROUP, self.keys.prefix, outcome, worker, MAX_DEAD]
            arguments += [KEEP_DEAD_MS, INBOX_MS]
            for place, entry in entries[start : start + SETTLE_LIMIT]:
                arguments += (place + 1, entry)
            buried += cast("int", await self.run("dead_letter_unreadable", keys, arguments))
        return buried

    async def status(self, job_id: str) -> bytes | None:
        """Where a job stands: its outcome, one word, or None for an unknown one."""
        keys = [self.keys.job(job_id), self.keys.result(job_id)]
        return cast("bytes | None", await self.run("job_state", keys, [GROUP, self.keys.prefix]))

    async def owner_of(self, job_id: str) -> str | None:
        """The worker that has a job now, or None. Asks for a moment only."""
        job = await self.call("HMGET", self.keys.job(job_id), "e", "s", deadline=2)
        entry, lane = cast("list[bytes | None]", job)
        if entry is None:
            return None
        stream = self.keys.stream(lane.decode() if lane else DEFAULT_LANE)
        found = await self.call("XPENDING", stream, GROUP, entry, entry, 1, deadline=2)
        pending = cast("list[list[bytes]]", found)
        return pending[0][1].decode() if pending else None

    async def ender_of(self, job_id: str) -> str | None:
        """The worker that has ended a job, as far as its outcome says. Asks for a moment only."""
        outcome = await self.call("GET", self.keys.result(job_id), deadline=2)
        return signer_of(cast("bytes", outcome)) if outcome else None

    async def leave(self, consumer: str) -> None:
        """Forget a worker that has nothing left."""
        keys = [self.keys.workers, *self.streams]
        await self.run("deregister_worker", keys, [GROUP, consumer, self.keys.worker(consumer)], 2)

    async def unblock(self, client_id: int) -> None:
        """End the blocking read of another of our connections."""
        await self.call("CLIENT", "UNBLOCK", client_id, deadline=2)

    async def read(
        self,
        link: "Link",
        consumer: str,
        count: int,
        block_ms: int | None,
        streams: "Sequence[str] | None" = None,
    ) -> Read:
        """Read what is new, at most *count* from each stream.

        Args:
            link: A connection of the caller's own: the read may block it.
            consumer: Whose the deliveries shall be.
            count: Of each stream.
            block_ms: Milliseconds to wait for something; None does not wait.
            streams: Their keys; None is all of the queue.
        """
        streams = self.streams if streams is None else streams
        block = () if block_ms is None else ("BLOCK", block_ms)
        new = (">",) * len(streams)
        command: tuple[Argument, ...] = (
            "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, *block,
            "STREAMS", *streams, *new,
        )  # fmt: skip
        then = ("EXISTS", self.keys.cancelled, self.keys.paused)
        in_order = self.connector.is_in_memory
        reply, is_steered = await call_both(link, command, then, in_order=in_order)
        read = self.parse(reply)
        read.paused = {}
        if is_steered:
            await self.look_at_steering(link, read)
        return read

    async def look_at_steering(self, link: "Link", read: Read) -> None:
        """Note what has been cancelled or paused before *read* was delivered."""
        told = await link.call("HGETALL", self.keys.paused)
        read.paused = holding(pairs_of(cast("list[bytes]", told)), self.clock.now_ms())
        ids = [delivery.job_id for delivery in read.deliveries]
        if ids:
            scores = await link.call("ZMSCORE", self.keys.cancelled, *ids)
            found = zip(read.deliveries, cast("list[Reply]", scores), strict=True)
            read.cancelled = [one for one, asked in found if asked is not None]

    def parse(self, reply: "Reply") -> Read:
        """What XREADGROUP, or a script in its form, has answered."""
        return parse_read(reply, self._stream_places)

    async def read_own(self, link: "Link", consumer: str, count: int) -> Read:
        """Read again what *consumer* was sent and has not ended, oldest first."""
        oldest = ("0",) * len(self.streams)
        reply = await link.call(
            "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count,
            "STREAMS", *self.streams, *oldest,
        )  # fmt: skip
        read = self.parse(reply)
        await self.look_at_steering(link, read)
        return read

    async def pending_own(
        self, link: "Link", consumer: str, count: int
    ) -> "set[tuple[int, bytes]]":
        """What *consumer* was sent and has not ended, as (place of the stream, entry).

        Costs no payloads; at most *count* of each stream, oldest first.
        """
        replies = await asyncio.gather(
            *(
                link.call("XPENDING", stream, GROUP, "-", "+", count, consumer)
                for stream in self.streams
            )
        )
        return {
            (place, cast("bytes", entry))
            for place, reply in enumerate(replies, start=1)
            for entry, *_ in cast("list[list[Reply]]", reply)
        }

    async def read_all_own(self, consumer: str) -> "list[Delivery]":
        """All that *consumer* was sent and has not ended, read over the queue's own connection."""
        read = await self._line.persist(
            lambda link: self.read_own(link, consumer, MAX_HELD), repair=self.set_up, deadline=2
        )
        return read.deliveries

    def over_another_line(self, line: ReconnectingLink) -> "Broker":
        """The same queue over a connection of its own, maybe for another event loop."""
        return Broker(self.connector, self.keys, self.lanes, line=line)

    @property
    def connection_count(self) -> int:
        """How often this has connected: a change tells of an outage."""
        return self._line.opened

    async def call(self, *command: "Argument", deadline: float | None = None) -> "Reply":
        """Send one plain command, again and again as `run` does."""
        return await self._line.persist(lambda link: link.call(*command), deadline=deadline)

    async def run_on(
        self,
        link: "Link",
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
    ) -> "Reply":
        """Run one of SCRIPTS once, over a connection of the caller's own."""
        return await self._scripts[script].run(link, keys, arguments)

    async def run(
        self,
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
        deadline: float | None = None,
    ) -> "Reply":
        """Run one of SCRIPTS, again and again until it passes or *deadline* seconds are over.

        Raises:
            QueueUnavailable: *deadline* passed.
            CommandError: Redis refused.
        """
        if self._server is None:
            await self.open(OPEN_TIMEOUT if deadline is None else min(deadline, OPEN_TIMEOUT))
        run = self._scripts[script].run
        return await self._line.persist(
            lambda link: run(link, keys, arguments), repair=self.set_up, deadline=deadline
        )
