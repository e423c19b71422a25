"""Fetching deliveries: never more than will soon run."""

import asyncio
import math
from typing import TYPE_CHECKING

from aiostreamq.store.connection.blocking_read import BlockingRead
from aiostreamq.store.connection.link import CallTooLarge, CommandError, LinkCut, LinkLost
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.reads import DeliveryCut, Read
from aiostreamq.store.workers import reader_role
from aiostreamq.worker.fetch.gauge import ReadGauge
from aiostreamq.worker.fetch.lost_deliveries import LostDeliveries
from aiostreamq.worker.fetch.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.aio.own_tasks import OwnTask
    from aiostreamq.model.delivery import Wanted
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.lane_reader import LaneReader
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.fetch.burst_end import BurstWait
    from aiostreamq.worker.fetch.held_source import HeldSource
    from aiostreamq.worker.held_bytes import HeldBytes
    from aiostreamq.worker.protocols import Holdings, Runs, Spill

# Milliseconds that a read waits for work. It delays nothing: Redis answers as soon as there is
# work. It only bounds how long a dead connection goes unseen.
BLOCK_MS = 5000

# Seconds that stopping waits for a blocked read to return.
STOP_TIME = 2.0


class Reader:
    """Reads while there is room, until it is stopped.

    Its attributes are services that a read needs, but for three: they say how far stopping has
    come, and whether the last read may have lost something. It has many methods, as there are
    several kinds of reads, and all begin and end here.
    """

    def __init__(
        self,
        store: "QueueStore",
        intake: "LaneReader",
        consumer: str,
        dispatcher: "Runs",
        holdings: "Holdings",
        lease: float,
        notice: "Callable[[Mapping[str, int]], None]",
        overflow: "Spill",
        burst_wait: "BurstWait",
        held: "HeldBytes",
        held_jobs: "HeldSource",
    ) -> None:
        """Prepare to read.

        Args:
            store: The queue.
            intake: Reads the lanes.
            consumer: The worker's name.
            dispatcher: Takes the deliveries; its slots bound the reading.
            holdings: The deliveries to this worker whose end Redis has not confirmed.
            lease: Seconds between looks for deliveries that never arrived.
            notice: Takes the pauses that a read has met.
            overflow: Decides when to read what has overflowed elsewhere.
            burst_wait: Decides whether a burst is over.
            held: Learns the sizes of payloads.
            held_jobs: Admits jobs that wait for their limits.
        """
        self._held_jobs = held_jobs
        self._store = store
        self._intake = intake
        self._consumer = consumer
        self._dispatcher = dispatcher
        self._holdings = holdings
        self._overflow = overflow
        self._burst_wait = burst_wait
        self._gauge = ReadGauge(dispatcher, holdings, overflow, held)
        deliveries = Deliveries(store)
        self._receiver = Receiver(deliveries, consumer, dispatcher, holdings, notice)
        size = self._gauge.size
        self._lost = LostDeliveries(deliveries, consumer, dispatcher, holdings, lease, size)
        self._blocking = BlockingRead(
            store.connector,
            reader_role(consumer),
            BLOCK_MS / 1000,
            replaced=self._mistrust,
            repair=self._repair,
            unblock=store.unblock,
        )
        self._asked = 0  # how many deliveries the last read has asked for
        self._is_stopping = False
        self._is_unsure = False  # the last read may have brought something that never arrived

    async def run(self, *, burst: bool = False) -> None:
        """Read until stopped; with *burst*, until there is nothing left to do.

        Raises:
            BrokerError: Redis refuses for good.
        """
        self._lost.set_alarm()
        while not self._is_stopping:
            try:
                await self._read_on(burst=burst)
            except CallTooLarge as error:
                self._is_unsure = True
                if isinstance(cut := error.__cause__, DeliveryCut):
                    await self._lost.drop(cut.entry)
            else:
                return

    async def _read_on(self, *, burst: bool) -> None:
        found_nothing = False
        while not self._is_stopping:
            if self._lost.is_look_due:
                await self._blocking.persist(self._look_again)
            wanted = await self._read_others()
            count = self._gauge.room()
            if count == 0:
                await self._dispatcher.progress.wait()
                continue
            # Whether this read may be the last of a burst. The one before it has found nothing, so
            # that reads which find jobs pay nothing for the end.
            is_final = burst and found_nothing and self._dispatcher.is_idle
            may_get_jobs = is_final and await self._may_get_jobs()
            # A slot that comes free is for what is wanted: no read may block until then.
            may_block = not (burst or wanted or self._held_jobs.is_wanted)
            read = await self._blocking.persist(
                lambda link, count=count, may_block=may_block: self._read(
                    link, count, is_blocking=may_block
                )
            )
            if read.deliveries:
                self._receiver.look(read)
            if self._receiver.is_doubtful:
                self._receiver.sort_out(read)
            await self._receiver.take(read)
            self._held_jobs.note(read)
            found_nothing = not (read.deliveries or self._held_jobs.is_wanted)
            if wanted and found_nothing and not self._dispatcher.is_idle:
                await self._dispatcher.progress.wait()
                continue
            if burst and await self._is_burst_over(
                read, is_final=is_final, may_get_jobs=may_get_jobs
            ):
                return

    async def _read_others(self) -> "Wanted | None":
        """Read what is not in the lanes; return what is left there and finds no slot."""
        if self._held_jobs.is_active:
            await self._read_held(self._held_jobs)
        while (wanted := self._overflow.wanted()) and self._gauge.slots_left > 0:
            if self._is_stopping:
                break
            await self._read_overflow(wanted)
        return wanted

    async def _read_held(self, source: "HeldSource") -> None:
        """Read held jobs for free slots; with none free, leave the next look to others."""
        free = self._gauge.slots_left
        if free > 0 and source.is_wanted and not self._dispatcher.is_closed:
            count = source.share(free)
        elif free <= 0 and source.must_hand_over:
            count = 0
        else:
            return
        read = await self._blocking.persist(
            lambda link: self._read(link, count, is_blocking=False, held_jobs=source)
        )
        await self._receiver.take(read)

    async def _may_get_jobs(self) -> bool:
        """Settle all, and return whether jobs of a worker that may be dead can still come."""
        await self._holdings.join()  # retries must be there to be read
        return await self._burst_wait.may_get_jobs()

    async def _is_burst_over(self, read: Read, *, is_final: bool, may_get_jobs: bool) -> bool:
        """Wait until it is worth reading again, or return True if nothing is left.

        Args:
            read: The last read.
            is_final: Whether it was the last one, if it has found nothing.
            may_get_jobs: Whether jobs of another worker could still come then.
        """
        if read.deliveries or self._held_jobs.is_wanted:
            self._burst_wait.forget()
        elif not self._dispatcher.is_idle:
            await self._dispatcher.progress.wait()
        elif may_get_jobs:
            await self._burst_wait.pause()
        else:
            return is_final and not await self._has_overflown()
        return False

    async def _has_overflown(self) -> bool:
        """Take up what has overflowed, maybe here; returns whether there was anything."""
        self._overflow.reopen()
        while self._dispatcher.is_idle and (wanted := self._overflow.wanted()):
            await self._read_overflow(wanted)
        return not self._dispatcher.is_idle

    async def _read_overflow(self, wanted: "Wanted") -> None:
        count = min(wanted.most, self._gauge.slots_left)
        read = await self._blocking.persist(
            lambda link: self._read(link, count, is_blocking=False, overflow=wanted)
        )
        if not read.has_more:
            found = len(read.deliveries) + len(read.unreadable)
            self._overflow.note(wanted, asked=self._asked, found=found)
        if self._receiver.is_doubtful:
            self._receiver.sort_out(read)
        await self._receiver.take(read)

    def stop(self) -> None:
        """Begin no further read. The one that waits may still bring something; then `aclose`."""
        self._is_stopping = True
        self._lost.close()
        self._held_jobs.close()

    async def aclose(self, running: "OwnTask[None]") -> None:
        """End *running*, the task of `run`, without losing what Redis may be sending."""
        self.stop()
        await self._blocking.finish(STOP_TIME)
        running.end()
        await asyncio.wait([running])
        self._blocking.close()

    def abort(self, running: "OwnTask[None]") -> None:
        """End *running* at once. Jobs that Redis is sending come back after the lease."""
        self.stop()
        running.end()
        self._blocking.close()

    @property
    def client_id(self) -> int:
        """The id of the connection that was read from last, 0 before. Any thread may ask."""
        return self._blocking.client_id

    def wake(self) -> None:
        """Look now: end a read that waits, as the next one will be different."""
        self._blocking.interrupt()

    async def _read(
        self,
        link: "Link",
        count: int,
        *,
        is_blocking: bool,
        overflow: "Wanted | None" = None,
        held_jobs: "HeldSource | None" = None,
    ) -> Read:
        if self._is_unsure:
            await self._recover(link)
        if self._is_stopping:
            return Read()
        block_ms = self._block_ms() if is_blocking else None
        self._asked = count = min(count, self._gauge.size.most)  # it may have shrunk since
        before = link.received
        if held_jobs is not None:
            reading = held_jobs.admit(link, count)
        elif overflow is None:
            # With all slots taken, another worker is to hear of held jobs.
            hears = self._gauge.slots_left > 0
            reading = self._intake.read(link, self._consumer, count, block_ms, hears_bell=hears)
        elif overflow.place is None:
            reading = self._intake.read_parked(link, self._consumer, count, overflow.tasks)
        else:
            reading = self._intake.read_overflow(link, self._consumer, count, overflow.place)
        try:
            read = await self._blocking.wait(reading)
        except LinkCut as error:
            # Maybe for the size of the reply. Its deliveries are read again, piece by piece.
            self._gauge.size.halve(count)
            raise LinkLost(str(error)) from error
        except CommandError:
            self._is_unsure = True  # several commands make one read, and the first may have passed
            raise
        self._gauge.note(read, link.received - before)
        return read

    def _block_ms(self) -> int:
        """Milliseconds to wait for work: no longer than until the next look."""
        left = min(self._lost.seconds_left, self._held_jobs.seconds_left)
        return max(1, min(BLOCK_MS, math.ceil(left * 1000)))

    async def _repair(self, link: "Link") -> None:
        """Create missing groups again. They begin at the oldest entry, which may run here."""
        await self._store.create_groups(link)
        self._receiver.is_doubtful = True

    def _mistrust(self) -> None:
        """Look for what the last read has brought: there is another connection now."""
        self._is_unsure = True

    async def _recover(self, link: "Link") -> None:
        """Take up what was sent over an earlier connection, or by a read that failed."""
        await self._receiver.take(await self._lost.read_unknown(link))
        self._is_unsure = False

    async def _look_again(self, link: "Link") -> None:
        """Take what never arrived, or requeue it if all slots are taken."""
        if self._is_unsure:
            await self._recover(link)
        elif (lost := await self._lost.look(link)) is not None:
            if lost.deliveries and self._gauge.room() == 0:
                await self._lost.requeue(lost)
            await self._receiver.take(lost)
        self._overflow.reopen()
        self._lost.set_alarm()
