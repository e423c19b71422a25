"""A connection for reads that wait at the server, and how such a read is ended early."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import BrokerError
from aiostreamq.store.connection.reconnecting import ReconnectingLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Link

T = TypeVar("T")

# Seconds that a reply may be late, beyond the time that the read waits, before the connection
# is given up.
MARGIN = 5.0

# Seconds between two requests to end a read: the first may arrive before the read does.
UNBLOCK_AGAIN = 0.005


class BlockingRead:
    """Reads that wait, one at a time, over a connection of their own."""

    def __init__(
        self,
        connector: "Connector",
        role: str,
        longest: float,
        *,
        replaced: "Callable[[], None] | None" = None,
        repair: "Callable[[Link], Awaitable[object]] | None" = None,
        unblock: "Callable[[int], Awaitable[None]] | None" = None,
    ) -> None:
        """Prepare to read.

        Args:
            connector: Opens the connection.
            role: The purpose of the connection, as CLIENT LIST shows it.
            longest: Seconds that one read waits at most.
            replaced: Called when the connection was lost and there is another, before the next
                read: what the last read was about to bring may be lost.
            repair: Creates streams and groups again if they are gone.
            unblock: Ends the read of the connection with a client id. Needed for `interrupt`
                and `finish`.
        """
        self._link = ReconnectingLink(connector, role, reply_timeout=longest + MARGIN)
        self._replaced = replaced
        self._repair = repair
        self._unblock = unblock
        self._current: Link | None = None  # the link of the last attempt
        self.client_id = 0  #: of the connection, if `unblock` is given; 0 before
        self._reads = 0  # how many reads have been sent
        self._stale = 0  # which of them is to end at once
        self._is_waiting = False
        self._unblocking: OwnTask[None] | None = None
        self._returned = Wakeup()  # the read that is to end has returned

    async def persist(self, attempt: "Callable[[Link], Awaitable[T]]") -> T:
        """Repeat *attempt* until it succeeds, however often the connection breaks.

        Raises:
            CommandError: Redis refused, and another try would not help.
            LinkLost: This was closed.
        """

        async def attempt_on(link: "Link") -> T:
            if link is not self._current:
                await self._take(link)
            return await attempt(link)

        return await self._link.persist(attempt_on, repair=self._repair)

    async def _take(self, link: "Link") -> None:
        if self._unblock is not None:
            self.client_id = int(str(await link.call("CLIENT", "ID")))
        if self._current is not None and self._replaced is not None:
            self._replaced()
        self._current = link

    async def wait(self, reading: "Awaitable[T]") -> T:
        """Return what *reading* brings. Within an attempt only; `interrupt` ends it early."""
        self._reads += 1
        self._is_waiting = True
        try:
            return await reading
        finally:
            self._is_waiting = False
            if self._unblocking is not None:
                self._returned.wake()

    def interrupt(self) -> None:
        """End the read that waits now, if any: it returns with what it has."""
        self._stale = self._reads
        if self._is_waiting and (self._unblocking is None or self._unblocking.done()):
            self._unblocking = spawn(self._unblock_again(), "aiostreamq:unblock")

    async def finish(self, within: float) -> None:
        """End the read that waits now, if any, and wait until it has returned.

        The connection can then be closed without losing what Redis was about to send. Gives up
        after *within* seconds, or if Redis cannot be asked.
        """
        self.interrupt()
        if self._unblocking is not None:
            await asyncio.wait([self._unblocking], timeout=within)

    async def _unblock_again(self) -> None:
        assert self._unblock is not None
        with suppress(BrokerError):  # the read ends by itself in the end
            while self._is_waiting and self._reads == self._stale:
                await self._unblock(self.client_id)
                await self._returned.wait(UNBLOCK_AGAIN)

    def close(self) -> None:
        """Close the connection for good; a read that waits fails with LinkLost."""
        self._link.close()
        if self._unblocking is not None:
            self._unblocking.end()

    async def join(self) -> None:
        """Wait until nothing runs after `close`."""
        if self._unblocking is not None:
            await asyncio.wait([self._unblocking])

    def abandon(self) -> None:
        """Close for good from outside of the event loop, which does not run."""
        self._link.abandon()
