"""A link that is opened when it is first used, and again when it is lost."""

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.logs import get_logger
from aiostreamq.store.connection.connector import REPLY_TIMEOUT, Connector, unreachable
from aiostreamq.store.connection.link import CommandError, Link, LinkLost
from aiostreamq.store.connection.redis_errors import (
    Remedy,
    is_elsewhere,
    moved_to,
    remedy_for,
    with_advice,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.store.connection.server import Server

T = TypeVar("T")
logger = get_logger("aiostreamq.redis")

# Seconds between tries: short enough that a restart of Redis is hardly felt,
# drawn at random so that a fleet does not come back as one.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0


class ReconnectingLink:
    """One reconnecting connection of a process, for one purpose."""

    def __init__(
        self,
        connector: Connector,
        role: str,
        *,
        reply_timeout: float = REPLY_TIMEOUT,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self.opened = 0  #: how many links have been opened so far
        self._connector = connector
        self._role = role
        self._reply_timeout = reply_timeout
        self._longest_pause = longest_pause
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False
        self._trouble: Exception | None = None  # what the latest failing try met

    @property
    def is_up(self) -> bool:
        """Whether there is a link, and it is not known to be lost."""
        return self._link is not None and not self._link.is_lost

    async def link(self) -> Link:
        """The link as it stands, opened first where there is none.

        Raises:
            LinkLost: The server can not be reached, or this line was closed.
        """
        link = self._link
        if link is not None and not link.is_lost:
            return link
        async with self._opening:
            if self._is_closed:
                raise LinkLost("the queue was closed")
            if self._link is None or self._link.is_lost:
                self._link = await self._open()
            return self._link

    async def _open(self) -> Link:
        opener = asyncio.current_task()
        cancellations = opener.cancelling() if opener is not None else 0
        link = await self._connector.open_link(self._role, reply_timeout=self._reply_timeout)
        # redis-py may swallow a cancellation that meets its handshake.
        was_cancelled = opener is not None and opener.cancelling() > cancellations
        if self._is_closed or was_cancelled:
            link.close()
        if was_cancelled:
            raise asyncio.CancelledError
        if self._is_closed:
            raise LinkLost("the queue was closed")
        self.opened += 1
        return link

    async def ask_server(self) -> "Server":
        """Learn which server this leads to."""
        return await self._connector.ask_server(await self.link())

    def drop(self) -> None:
        """Give the present link up; the next use opens another."""
        if self._link is not None:
            self._link.close()

    def close(self) -> None:
        """Close for good."""
        self._is_closed = True
        self.drop()

    def abandon(self) -> None:
        """Close for good, from outside of the event loop, which does not run."""
        self._is_closed = True
        if self._link is not None:
            self._link.abandon()

    async def persist(
        self,
        attempt: "Callable[[Link], Awaitable[T]]",
        *,
        repair: "Callable[[Link], Awaitable[object]] | None" = None,
        deadline: float | None = None,
    ) -> T:
        """Carry out *attempt* until it passes, however often the connection breaks.

        Only for what may run twice: a broken connection does not tell whether
        the command ran.

        Args:
            attempt: Sends the command over the link it is given.
            repair: Makes streams and groups again where they are gone.
            deadline: Seconds after which to stop trying; None is never.

        Raises:
            QueueUnavailable: *deadline* passed.
            CommandError: Redis refused, and trying again would not help.
        """
        try:
            async with asyncio.timeout(deadline):
                return await self._try_on(attempt, repair)
        except TimeoutError as error:
            raise unreachable(self._trouble or error, deadline or 0.0) from self._trouble

    async def _try_on(
        self,
        attempt: "Callable[[Link], Awaitable[T]]",
        repair: "Callable[[Link], Awaitable[object]] | None",
    ) -> T:
        outage: _Outage | None = None
        while True:
            try:
                link = await self.link()
                done = await attempt(link)
            except (LinkLost, CommandError) as error:
                outage = outage or _Outage(self._longest_pause)
                await self._bear(error, outage, repair)
            else:
                if outage is not None:
                    outage.end()
                return done

    async def _bear(
        self,
        error: LinkLost | CommandError,
        outage: "_Outage",
        repair: "Callable[[Link], Awaitable[object]] | None",
    ) -> None:
        """Do what helps against *error* and pause, or raise where nothing does."""
        remedy = remedy_for(error)
        is_hopeless = remedy in {Remedy.NONE, Remedy.PUSH_BACK}
        if self._is_closed or is_hopeless or (remedy is Remedy.REPAIR and repair is None):
            if (advised := with_advice(error)) is not error:
                raise advised from error
            raise error
        self._trouble = with_advice(error)
        outage.tell(self._trouble)
        if is_elsewhere(error):
            if (address := moved_to(error)) is not None:
                self._connector.redirect(*address)
            self.drop()
        if remedy is Remedy.REPAIR and repair is not None:
            await self._try_repair(repair)
        await outage.rest()

    async def _try_repair(self, repair: "Callable[[Link], Awaitable[object]]") -> None:
        try:
            await repair(await self.link())
        except (LinkLost, CommandError) as error:
            logger.warning("streams and groups could not be made again yet: %s", error)


class _Outage:
    """A stretch of tries that fail."""

    def __init__(self, longest_pause: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest_pause = longest_pause
        self._started = self._loop.time()
        self._is_told = False
        self.pause = FIRST_PAUSE  #: seconds until the next try, about

    @property
    def elapsed(self) -> float:
        """Seconds since the first failure."""
        return self._loop.time() - self._started

    def tell(self, error: Exception) -> None:
        """Log the beginning, once."""
        if not self._is_told:
            self._is_told = True
            logger.warning("Redis does not answer, trying on: %s", error)

    def end(self) -> None:
        """Log the end."""
        logger.warning("Redis answers again after %.2f s", self.elapsed)

    async def rest(self) -> None:
        """Pause, longer each time."""
        await asyncio.sleep(self.pause * (0.5 + random.random()))
        self.pause = min(self.pause * 2, self._longest_pause)
