"""Deliveries: how workers read them, and how they end or go to others."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq import clock
from aiostreamq.aio.batching import split
from aiostreamq.model.delivery import Delivery, EntryRef, RetryRequest
from aiostreamq.model.keys import GROUP, RETURNED
from aiostreamq.model.pauses import holding
from aiostreamq.model.stats import tally_of
from aiostreamq.store.connection.link import LinkCut
from aiostreamq.store.dead_letters import KEEP_DEAD_MS, MAX_DEAD
from aiostreamq.store.queue import pairs_of
from aiostreamq.store.reads import DeliveryCut, Read, parse_read, without_bell
from aiostreamq.store.results import INBOX_MS
from aiostreamq.store.settle_call import settle_call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from aiostreamq.model.delivery import Settlement
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.queue import QueueStore

# How many deliveries one call ends or moves: some 2 ms of Redis.
SETTLE_LIMIT = 250

# The id of a job that has ended stays taken this long even if its result is not kept, so that
# an enqueue that is repeated after a lost reply still finds it taken.
ID_MS = 60_000

# A longer outcome is not copied into the inboxes of the callers that wait for it.
NOTICE_BYTES = 4096

# More than any worker ever holds: twice its concurrency, and what one read brings.
MAX_HELD = 100_000

# How many payloads to ask for at once if nothing is known about their sizes.
OWN_AT_ONCE = 16


class Settled(NamedTuple):
    """The result of settling a batch."""

    refused: "list[Delivery]"  #: other workers have their jobs by now
    #: those that have ended with the batch. A job that ended as cancelled before its worker
    #: sent the outcome is in neither list: it was counted then
    ended: "Sequence[Settlement]"


class Deliveries:
    """The deliveries of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys
        self._streams = queue.streams
        self._streams_and_dead = [*queue.streams, queue.keys.dead]

    async def read(
        self,
        link: "Link",
        consumer: str,
        count: int,
        block_ms: int | None,
        streams: "Sequence[str] | None" = None,
        bell: str = "",
    ) -> Read:
        """Read what is new, at most *count* entries of each stream.

        Args:
            link: A connection of the caller's own: the read may block it.
            consumer: The worker that gets the deliveries.
            count: How many to read of each stream.
            block_ms: Milliseconds to wait for something; None does not wait.
            streams: The keys of the streams to read; None is all of the queue.
            bell: The stream that wakes a worker for held jobs; empty if it has no such tasks.
        """
        streams = self._streams if streams is None else streams
        if bell:
            streams = [*streams, bell]
        block = () if block_ms is None else ("BLOCK", block_ms)
        new = (">",) * len(streams)
        command: tuple[Argument, ...] = (
            "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, *block,
            "STREAMS", *streams, *new,
        )  # fmt: skip
        then = ("EXISTS", self._keys.cancelled, self._keys.paused)
        in_order = self._queue.connector.is_in_memory
        reply, has_stops = await _call_both(link, command, then, in_order=in_order)
        rung = b""
        if bell:
            reply, rung = without_bell(reply, bell.encode())
        read = self.parse(reply)
        read.bell = rung
        read.paused = {}
        if has_stops:
            await self.note_stops(link, read)
        return read

    async def note_stops(self, link: "Link", read: Read) -> None:
        """Note in *read* what was cancelled or paused before it was delivered."""
        reply = await link.call("HGETALL", self._keys.paused)
        paused = pairs_of(cast("list[bytes]", reply))
        read.paused = holding(paused, self._queue.clock.now_ms())
        ids = [delivery.job_id for delivery in read.deliveries]
        if ids:
            scores = await link.call("ZMSCORE", self._keys.cancelled, *ids)
            found = zip(read.deliveries, cast("list[Reply]", scores), strict=True)
            read.cancelled = [one for one, score in found if score is not None]

    def parse(self, reply: "Reply") -> Read:
        """Read the reply of XREADGROUP, or of a script that answers in its form."""
        return parse_read(reply, self._queue.stream_places)

    async def read_own(
        self,
        link: "Link",
        consumer: str,
        count: int,
        known: "AbstractSet[EntryRef]" = frozenset(),
        at_once: int = OWN_AT_ONCE,
    ) -> Read:
        """Read again what *consumer* was sent and has not ended, oldest first.

        Only the payloads of what is not known are sent.

        Args:
            link: A connection.
            consumer: The worker that has the deliveries.
            count: How many to look at of each stream.
            known: Deliveries to leave out.
            at_once: How many payloads one reply may have.

        Raises:
            DeliveryCut: The connection was cut at the payload of a single delivery.
            LinkCut: The connection was cut at those of several.
        """
        own = sorted(await self.pending_own(link, consumer, count) - known)
        read = Read()
        for start in range(0, len(own), at_once):
            some = own[start : start + at_once]
            try:
                found = await self._read_entries(link, some)
            except LinkCut as error:
                if len(some) == 1:
                    raise DeliveryCut(some[0], str(error)) from error
                raise
            read.deliveries += found.deliveries
            read.unreadable += found.unreadable
        await self.note_stops(link, read)
        return read

    async def _read_entries(self, link: "Link", entries: "Sequence[EntryRef]") -> Read:
        read = Read()
        streams = [self._streams[place - 1] for place, _ in entries]
        asked = zip(streams, entries, strict=True)
        # All are awaited, whatever becomes of one: none may be left with an error of its own.
        replies = await asyncio.gather(
            *(link.call("XRANGE", stream, entry, entry) for stream, (_, entry) in asked),
            return_exceptions=True,
        )
        for stream, (_, entry), reply in zip(streams, entries, replies, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            # An entry that was deleted has no fields, as in a reply of XREADGROUP.
            one = self.parse([[stream.encode(), reply or [[entry, None]]]])
            read.deliveries += one.deliveries
            read.unreadable += one.unreadable
        return read

    async def read_all_own(
        self, consumer: str, known: "AbstractSet[EntryRef]" = frozenset()
    ) -> "list[Delivery]":
        """Read again all that *consumer* has not ended, without what is *known*.

        Over the queue's own connection.
        """
        read = await self._queue.persist(
            lambda link: self.read_own(link, consumer, MAX_HELD, known), deadline=2
        )
        return read.deliveries

    async def pending_own(self, link: "Link", consumer: str, count: int) -> "set[EntryRef]":
        """Return what *consumer* was sent and has not ended.

        At most *count* of each stream, oldest first, and without the payloads.
        """
        replies = await asyncio.gather(
            *(
                link.call("XPENDING", stream, GROUP, "-", "+", count, consumer)
                for stream in (self._streams if self._queue.has_limits else self._streams[:-1])
            )
        )
        return {
            (place, cast("bytes", entry))
            for place, reply in enumerate(replies, start=1)
            for entry, *_ in cast("list[list[Reply]]", reply)
        }

    async def settle(self, batch: "Sequence[Settlement]", worker: str) -> Settled:
        """End deliveries of *worker*, SETTLE_LIMIT at most. Repeats until Redis answers."""
        settings = (ID_MS, NOTICE_BYTES, INBOX_MS, worker, MAX_DEAD)
        script, arguments = settle_call(batch, self._keys.prefix, settings)
        reply = await self._queue.run(script, self._streams_and_dead, arguments)
        return _settled_of(batch, cast("list[int]", reply))

    async def record_stats(self, batch: "Sequence[Settlement]", worker: str, number: int) -> None:
        """Count how jobs have ended, for the statistics. Repeats until Redis answers.

        Args:
            batch: SETTLE_LIMIT at most.
            worker: The worker that reports; it makes one call at a time.
            number: Differs from that of the worker's last call.
        """
        tally = tally_of(batch, self._queue.clock.now_ms(), clock.monotonic())
        if not tally.kinds:
            return
        keys = [self._keys.recent, self._keys.counted(worker)]
        await self._queue.run("record_stats", keys, [self._keys.prefix, number, *tally])

    async def requeue(self, deliveries: "Sequence[Delivery]", lane: str = RETURNED) -> int:
        """Put deliveries that have not ended into *lane*; return how many were still ours."""
        requeued = 0
        for some in split(deliveries, SETTLE_LIMIT, lambda one: len(one.envelope)):
            arguments: list[Argument] = [GROUP, self._keys.prefix, self._queue.place_of(lane)]
            for delivery in some:
                arguments += (delivery.stream, delivery.entry)
            done = cast("int", await self._queue.run("requeue", self._streams, arguments))
            if done < len(some):
                # Ended, or with others, or their entries were deleted: those need their payloads.
                kept = await self.requeue_deleted([RetryRequest(one, 0) for one in some])
                done += len(some) - len(kept)
            requeued += done
        return requeued

    async def requeue_deleted(self, batch: "Sequence[RetryRequest]") -> "list[int]":
        """Requeue jobs whose entries were deleted while a worker had them: only it knows them.

        Args:
            batch: SETTLE_LIMIT at most, each with the attempt that comes next.

        Returns:
            The places (from 0) of those whose entries exist, or that have ended.
        """
        keys = [self._keys.delayed, self._keys.control, *self._streams]
        kept: list[int] = []
        done = 0
        for some in split(batch, SETTLE_LIMIT, lambda one: len(one.delivery.envelope)):
            arguments: list[Argument] = [self._keys.prefix]
            for delivery, delay_ms in some:
                arguments += delivery[:4]  # stream, entry, job id, number
                arguments += (delivery.attempt, delay_ms, delivery.envelope)
            places = cast("list[int]", await self._queue.run("requeue_deleted", keys, arguments))
            kept += [done + place - 1 for place in places]
            done += len(some)
        return kept

    async def dead_letter_unreadable(
        self, entries: "Sequence[EntryRef]", outcome: bytes, worker: str
    ) -> int:
        """Move entries that cannot be read to the dead letters; return how many.

        The job of such an entry ends with the outcome.

        Args:
            entries: Entries that *worker* was sent.
            outcome: JSON that says what is wrong with them.
            worker: The worker that found them.
        """
        keys = [self._keys.dead, *self._streams]
        moved = start = 0
        while start < len(entries):
            arguments: list[Argument] = [GROUP, self._keys.prefix, outcome, worker, MAX_DEAD]
            arguments += [KEEP_DEAD_MS, INBOX_MS]
            for place, entry in entries[start : start + SETTLE_LIMIT]:
                arguments += (place + 1, entry)
            reply = await self._queue.run("dead_letter_unreadable", keys, arguments)
            some, looked = cast("tuple[int, int]", reply)
            moved, start = moved + some, start + looked
        return moved


async def _call_both(
    link: "Link",
    command: "tuple[Argument, ...]",
    then: "tuple[Argument, ...]",
    *,
    in_order: bool,
) -> "tuple[Reply, Reply]":
    """Send *command*, which may block, and *then* right after it, in one round trip.

    Redis runs *then* after *command*, however long that blocks. For a server that does not
    (memory://) *in_order* is set, and *then* is sent after the reply.
    """
    first = link.call(*command)
    if in_order:
        return await first, await link.call(*then)
    second = link.call(*then)
    try:
        return await first, await second
    except BaseException:
        # The second future is not awaited any more: mark its exception as retrieved.
        if not second.cancelled() and not second.cancel():
            second.exception()
        raise


def _settled_of(batch: "Sequence[Settlement]", places: "Sequence[int]") -> Settled:
    """Read the reply of settle.lua."""
    if not places:
        return Settled([], batch)
    others = set(map(abs, places))
    return Settled(
        [batch[place - 1].delivery for place in places if place > 0],
        [one for place, one in enumerate(batch, start=1) if place not in others],
    )
