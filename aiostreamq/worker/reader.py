"""Fetching deliveries: never more than will soon run."""

import asyncio
import logging
from collections.abc import Sized
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from aiostreamq.errors import BrokerError
from aiostreamq.model.delivery import Delivery
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.model.plan import Pace, read_count
from aiostreamq.store.line import Line
from aiostreamq.store.link import CommandError
from aiostreamq.store.reading import Read
from aiostreamq.store.roster import reader_role

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.store.broker import Broker
    from aiostreamq.store.link import Link

logger = logging.getLogger("aiostreamq.worker")

# Milliseconds a read waits for work. Nothing is late for it: Redis answers as
# soon as there is something. It only bounds how long a dead connection goes unseen.
BLOCK_MS = 5000

# Seconds beyond the block before the connection is taken for dead.
MARGIN = 5.0

# Seconds that stopping waits for a blocked read to return, and between asking for it.
STOP_TIME = 2.0
UNBLOCK_AGAIN = 0.02


class Runs(Protocol):
    """What the reader must know of the executor."""

    @property
    def concurrency(self) -> int:
        """How many may run at once."""
        ...

    @property
    def backlog(self) -> Sized:
        """Delivered, not started."""
        ...

    @property
    def running(self) -> Sized:
        """Started, not ended."""
        ...

    @property
    def finished(self) -> int:
        """How many have ended since the start."""
        ...

    def accept(self, deliveries: list[Delivery]) -> None:
        """Take deliveries over."""
        ...

    async def wait_progress(self) -> None:
        """Wait until a job ends."""
        ...


class Reader:
    """Reads while there is room, until it is stopped."""

    def __init__(
        self,
        broker: "Broker",
        consumer: str,
        executor: Runs,
        is_held: "Callable[[Delivery], bool]",
    ) -> None:
        """Prepare to read.

        Args:
            broker: The queue.
            consumer: The worker's name.
            executor: Where deliveries go, and whose slots bound the reading.
            is_held: Whether a delivery is known to this worker already.
        """
        self._broker = broker
        self._consumer = consumer
        self._executor = executor
        self._is_held = is_held
        self._line = Line(
            broker.connector, reader_role(consumer), reply_timeout=BLOCK_MS / 1000 + MARGIN
        )
        self._pace = Pace()
        self._link: Link | None = None  # the one that was read from last
        self._client_id = 0
        self._is_reading = False  # a read is on its way: it may not be cut short
        self._is_stopping = False

    async def run(self, *, burst: bool = False) -> None:
        """Read until stopped; with *burst*, until there is nothing left to do.

        Raises:
            BrokerError: Redis refuses for good.
        """
        while not self._is_stopping:
            count = self._room()
            if count == 0:
                await self._executor.wait_progress()
                continue
            read = await self._line.persist(
                lambda link, count=count: self._read(link, count, None if burst else BLOCK_MS),
                repair=self._broker.set_up,
            )
            await self._take(read)
            if burst and not read.deliveries:
                if not self._executor.running and not self._executor.backlog:
                    return
                await self._executor.wait_progress()

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """End *running*, the task of `run`, without losing what Redis may just be sending."""
        self._is_stopping = True
        with suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(STOP_TIME):
                while self._is_reading and not running.done():
                    # Ended by Redis, the read still answers: with nothing, or with
                    # what had been on its way. Cutting the connection could lose
                    # that. Again and again, as the read may not have arrived there.
                    await self._broker.unblock(self._client_id)
                    await asyncio.wait([running], timeout=UNBLOCK_AGAIN)
        running.cancel()
        await asyncio.wait([running])
        self._line.close()

    def _room(self) -> int:
        executor = self._executor
        self._pace.look(executor.finished, asyncio.get_running_loop().time())
        return read_count(
            executor.concurrency,
            len(executor.running),
            len(executor.backlog),
            self._pace.prefetch(executor.concurrency),
        )

    async def _read(self, link: "Link", count: int, block_ms: int | None) -> Read:
        if link is not self._link:
            await self._recover(link)
        # Several streams would give their count each. Aimed at none in
        # particular, the read stays near what there is room for.
        share = max(1, count // len(self._broker.lanes))
        if self._is_stopping:
            return Read()
        self._is_reading = True
        try:
            return await self._broker.read(link, self._consumer, share, block_ms)
        finally:
            self._is_reading = False

    async def _recover(self, link: "Link") -> None:
        """Take up what was sent over an earlier connection but never arrived."""
        self._client_id = cast("int", await link.call("CLIENT", "ID"))
        if self._link is not None:
            await self._take(await self.read_unheld(link))
        self._link = link

    async def read_unheld(self, link: "Link") -> Read:
        """Read what this worker was sent and does not know of."""
        executor = self._executor
        most = len(executor.running) + len(executor.backlog) + 4 * executor.concurrency
        read = await self._broker.read_own(link, self._consumer, most)
        read.deliveries = [d for d in read.deliveries if not self._is_held(d)]
        return read

    async def _take(self, read: Read) -> None:
        if read.deliveries:
            self._executor.accept(read.deliveries)
        if read.unreadable:
            logger.error("%d stream entries are no jobs: moved to dead", len(read.unreadable))
            outcome = encode_unreadable("the fields are not those of a job")
            try:
                await self._broker.bury(read.unreadable, outcome, self._consumer)
            except CommandError:
                # They stay this worker's until it ends; its jobs can not wait for that.
                logger.exception("stream entries that are no jobs could not be moved")
