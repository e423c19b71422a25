"""Fetching deliveries: never more than will soon run."""

import asyncio
import math
from collections.abc import Sized
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from aiostreamq import clock
from aiostreamq.aio.tasks import OwnTask, spawn
from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import Delivery
from aiostreamq.model.grammar import counted
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.model.prefetch import Throughput, read_count
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.deliveries import Deliveries, Read
from aiostreamq.store.workers import reader_role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiostreamq.model.keys import Spillway
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.lane_reader import LaneReader
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.ports import Holdings, Spill, Wakes, Wanted

logger = get_logger("aiostreamq.worker")

# Milliseconds that a read waits for work. It delays nothing: Redis answers as soon as there is
# work. It only bounds how long a dead connection goes unseen.
BLOCK_MS = 5000

# Seconds beyond the block before the connection is taken for dead.
MARGIN = 5.0

# Seconds that stopping waits for a blocked read to return, and between asking for it.
STOP_TIME = 2.0
UNBLOCK_AGAIN = 0.02


class Runs(Protocol):
    """The part of the executor that the reader needs."""

    @property
    def concurrency(self) -> int:
        """How many may run at once."""
        ...

    @property
    def fetched(self) -> int:
        """How many deliveries were not looked at yet."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        ...

    @property
    def progress(self) -> "Wakes":
        """Wakes its waiters when a job ends."""
        ...

    @property
    def running(self) -> Sized:
        """Started, not ended."""
        ...

    @property
    def finished(self) -> int:
        """How many have ended since the start."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing may start for now, however many slots are free."""
        ...

    def accept(self, deliveries: list[Delivery], cancelled: "Sequence[Delivery]" = ()) -> None:
        """Take deliveries over. Those of *cancelled* jobs must not run."""
        ...


class Reader:
    """Reads while there is room, until it is stopped."""

    def __init__(
        self,
        broker: "QueueStore",
        intake: "LaneReader",
        consumer: str,
        executor: Runs,
        holdings: "Holdings",
        lease: float,
        notice: "Callable[[Mapping[str, int]], None]",
        overflow: "Spill",
    ) -> None:
        """Prepare to read.

        Args:
            broker: The queue.
            intake: Reads the lanes.
            consumer: The worker's name.
            executor: Takes the deliveries; its slots bound the reading.
            holdings: The deliveries to this worker whose end Redis has not confirmed.
            lease: Seconds between looks for deliveries that never arrived.
            notice: Takes the pauses that a read has met.
            overflow: Decides when to read what has overflowed elsewhere.
        """
        self._broker = broker
        self._deliveries = Deliveries(broker)
        self._intake = intake
        self._consumer = consumer
        self._executor = executor
        self._holdings = holdings
        self._lease = lease
        self._notice = notice
        self._overflow = overflow
        self._interrupting: OwnTask[None] | None = None
        self._reads = 0  # how many have been sent
        self._stale = 0  # the number of the read that must end at once
        self._line = ReconnectingLink(
            broker.connector, reader_role(consumer), reply_timeout=BLOCK_MS / 1000 + MARGIN
        )
        self._pace = Throughput()
        self._link: Link | None = None  # the one that was read from last
        self._client_id = 0
        self._is_reading = False  # a read is on its way: it may not be cut short
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._is_look_due = False
        self._alarm: asyncio.TimerHandle | None = None  # rings when a look is due
        self._is_doubtful = False  # what is read may have been read before
        self._is_unsure = False  # the last read failed, and may have brought something

    async def run(self, *, burst: bool = False) -> None:
        """Read until stopped; with *burst*, until there is nothing left to do.

        Raises:
            BrokerError: Redis refuses for good.
        """
        self._set_alarm()
        while not self._is_stopping:
            if self._is_look_due:
                await self._line.persist(self._look_again, repair=self._repair)
            count = self._room()
            if self._slots_left() > 0 and (wanted := self._overflow.wanted()):
                await self._read_overflow(wanted)
                continue
            if count == 0:
                await self._executor.progress.wait()
                continue
            if was_idle := burst and self._is_idle():
                await self._holdings.join()  # retries must be there to be read
            read = await self._line.persist(
                lambda link, count=count: self._read(link, count, is_blocking=not burst),
                repair=self._repair,
            )
            self._unless_held(read)
            await self._take(read)
            if burst and not read.deliveries:
                if not self._is_idle():
                    await self._executor.progress.wait()
                elif was_idle and not await self._has_overflown():
                    return

    async def _has_overflown(self) -> bool:
        """Take up what has overflowed, maybe here; returns whether there was anything."""
        self._overflow.reopen()
        while self._is_idle() and (wanted := self._overflow.wanted()):
            await self._read_overflow(wanted)
        return not self._is_idle()

    async def _read_overflow(self, wanted: "Wanted") -> None:
        count = min(wanted.most, self._slots_left())
        read = await self._line.persist(
            lambda link: self._read(link, count, is_blocking=False, overflow=wanted.place),
            repair=self._repair,
        )
        self._overflow.note(wanted.place, asked=count, found=len(read.deliveries))
        await self._take(self._unless_held(read))

    async def aclose(self, running: "OwnTask[None]") -> None:
        """End *running*, the task of `run`, without losing what Redis may be sending."""
        self._begin_to_stop()
        with suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(STOP_TIME):
                while self._is_reading and not running.done():
                    # Unblocked by Redis, the read still answers: with nothing, or with
                    # deliveries that were on their way. Cutting the connection could lose
                    # those. Repeated, as the read may not have arrived at Redis.
                    await self._broker.unblock(self._client_id)
                    await asyncio.wait([running], timeout=UNBLOCK_AGAIN)
        running.end()
        await asyncio.wait([running])
        self._line.close()

    def abort(self, running: "OwnTask[None]") -> None:
        """End *running* at once. Jobs that Redis is sending come back after the lease."""
        self._begin_to_stop()
        running.end()
        self._line.close()

    def _begin_to_stop(self) -> None:
        self._is_stopping = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._interrupting is not None:
            self._interrupting.end()

    def wake(self) -> None:
        """Look now: end a read that waits, as the next one will be different."""
        self._stale = self._reads
        if self._is_reading and (self._interrupting is None or self._interrupting.done()):
            self._interrupting = spawn(self._interrupt(), "aiostreamq:interrupt")

    async def _interrupt(self) -> None:
        with suppress(BrokerError):
            # Repeated, as the read may not have arrived at Redis.
            while self._is_reading and self._reads == self._stale:
                await self._broker.unblock(self._client_id)
                await asyncio.sleep(UNBLOCK_AGAIN)

    def _is_idle(self) -> bool:
        return self._executor.is_idle

    def _slots_left(self) -> int:
        return self._executor.concurrency - len(self._executor.running)

    def _room(self) -> int:
        executor = self._executor
        self._pace.look(executor.finished, clock.monotonic())
        if executor.is_closed:
            return 0
        count = read_count(
            executor.concurrency,
            len(executor.running) + self._holdings.refused,
            executor.fetched,
            self._pace.prefetch(executor.concurrency),
        )
        return max(0, min(count, self._overflow.most_to_read(executor.fetched, count)))

    def _unless_held(self, read: Read) -> Read:
        """Leave out what is here already, if groups were created again: they start over."""
        if self._is_doubtful:
            self._is_doubtful = bool(read.deliveries)
            held = self._holdings.keys()
            read.deliveries = [d for d in read.deliveries if (d.stream, d.entry) not in held]
        return read

    async def _read(
        self, link: "Link", count: int, *, is_blocking: bool, overflow: "Spillway | None" = None
    ) -> Read:
        if link is not self._link or self._is_unsure:
            await self._recover(link)
        if self._is_stopping:
            return Read()
        block_ms = self._block_ms() if is_blocking else None
        self._is_reading = True
        self._reads += 1
        try:
            if overflow is not None:
                return await self._intake.read_overflow(link, self._consumer, count, overflow)
            return await self._intake.read(link, self._consumer, count, block_ms)
        except CommandError:
            # Several commands make one read. The first may have passed.
            self._is_unsure = True
            raise
        finally:
            self._is_reading = False

    def _block_ms(self) -> int:
        """Milliseconds to wait for work: no longer than until the next look."""
        assert self._alarm is not None
        left = self._alarm.when() - clock.of_loop(self._loop)
        return max(1, min(BLOCK_MS, math.ceil(left * 1000)))

    async def _repair(self, link: "Link") -> None:
        """Create missing groups again. They begin at the oldest entry, which may run here."""
        await self._broker.create_groups(link)
        self._is_doubtful = True

    async def _recover(self, link: "Link") -> None:
        """Take up what was sent over an earlier connection, or by a read that failed."""
        self._client_id = cast("int", await link.call("CLIENT", "ID"))
        if self._link is not None:
            await self._take(await self._read_unheld(link))
        self._link = link
        self._is_unsure = False

    def _set_alarm(self) -> None:
        self._is_look_due = False
        self._alarm = self._loop.call_later(self._lease, self._ring)

    def _ring(self) -> None:
        self._is_look_due = True
        self._executor.progress.wake()  # nothing else wakes the reader while all slots are taken

    async def _look_again(self, link: "Link") -> None:
        """Take what was sent to this worker over a connection that only Redis considers alive.

        This happens with a half-open connection: it was replaced here, while a read that it had
        sent still waits at Redis and is served before the others.
        """
        if link is not self._link:
            await self._recover(link)
        else:
            # Only the ids first, as the payloads of all running jobs could be large. A job
            # that is settled in the meantime may look unknown here; the read below handles that.
            pending = await self._deliveries.pending_own(link, self._consumer, self._most_own())
            if not pending <= self._holdings.keys():
                await self._take_up(await self._read_unheld(link))
        self._overflow.reopen()
        self._set_alarm()

    async def _read_unheld(self, link: "Link") -> Read:
        """Read what this worker was sent and does not know of.

        None of it can be known, or have been settled, by the time it is returned:

        - What was known when the question went out is left out, whatever has
          become of it. It may have been settled between Redis's answer and now;
          then it is known no more, and yet must not run again.
        - What Redis sent before the question, but was not known then, has been
          lost. Nothing is just arriving: this same coroutine does all reading,
          one after the other, and what a read brings is known in the same turn.
        - Deliveries that Redis is about to send to another reader under this name
          are not in the answer.
        """
        held = self._holdings.keys()
        read = await self._deliveries.read_own(link, self._consumer, self._most_own())
        read.deliveries = [d for d in read.deliveries if (d.stream, d.entry) not in held]
        read.unreadable = [one for one in read.unreadable if one not in held]
        return read

    def _most_own(self) -> int:
        """How many to ask for, to see at least some that are not known here."""
        return len(self._holdings.keys()) + 4 * self._executor.concurrency

    async def _take_up(self, read: Read) -> None:
        """Take deliveries that had been lost, or requeue them if all slots are taken."""
        if not (read.deliveries or read.unreadable):
            return
        logger.warning(
            "recovered deliveries that were sent to this worker and never arrived: %s",
            counted(len(read.deliveries), "job"),
        )
        if read.deliveries and self._room() == 0:
            await self._deliveries.requeue(read.deliveries)
            read.deliveries = []
        await self._take(read)

    async def _take(self, read: Read) -> None:
        if read.paused is not None:
            self._notice(read.paused)
        if read.deliveries:
            self._executor.accept(read.deliveries, read.cancelled)
        if read.unreadable:
            entries = counted(len(read.unreadable), "stream entry")
            logger.error("moved to the dead letters, as it is not a job: %s", entries)
            outcome = encode_unreadable("the fields are not those of a job")
            try:
                await self._deliveries.dead_letter_unreadable(
                    read.unreadable, outcome, self._consumer
                )
            except CommandError:
                # They stay this worker's until it ends; its jobs cannot wait for that.
                logger.exception(
                    "stream entries that are not jobs could not be moved to the dead letters"
                )
