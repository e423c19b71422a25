"""A link that opens with its first use, and again after it was lost."""

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq import clock
from aiostreamq.aio.backoff import Backoff
from aiostreamq.aio.progress_timeout import Patience
from aiostreamq.errors import QueueUnavailable
from aiostreamq.logs import get_logger
from aiostreamq.store.connection.connector import REPLY_TIMEOUT, Connector, unreachable
from aiostreamq.store.connection.link import CallTooLarge, CommandError, Link, LinkCut, LinkLost
from aiostreamq.store.connection.redis_errors import (
    Remedy,
    is_elsewhere,
    is_too_large,
    moved_to,
    remedy_for,
    with_advice,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiostreamq.store.connection.server import Server

T = TypeVar("T")
logger = get_logger("aiostreamq.redis")

# Seconds between tries: short enough that a restart of Redis costs little time.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0

# After this many cuts in a row, a call is tried alone on a connection of its own; after this many
# there, it is too large: each of those connections has answered a short call before.
MOST_CUTS = 3


class ReconnectingLink:
    """One connection of a process for one purpose, which reconnects by itself."""

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
        self._last_error: Exception | None = None  # of the latest try that failed

    @property
    def is_up(self) -> bool:
        """Whether there is a link that is not known to be lost."""
        return self._link is not None and not self._link.is_lost

    async def link(self) -> Link:
        """Return the present link; open one if there is none.

        Raises:
            LinkLost: The server cannot be reached, or this was closed.
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
        link = await self._connector.open_link(self._role, reply_timeout=self._reply_timeout)
        if self._is_closed:
            link.close()
            raise LinkLost("the queue was closed")
        self.opened += 1
        self._last_error = None  # of an earlier outage: it does not explain what comes
        return link

    async def ask_server(self) -> "Server":
        """Ask which server this leads to."""
        return await self._connector.ask_server(await self.link())

    def drop(self) -> None:
        """Close the present link; the next use opens another."""
        if self._link is not None:
            self._link.close()

    def close(self) -> None:
        """Close for good."""
        self._is_closed = True
        self.drop()

    def abandon(self) -> None:
        """Close for good from outside of the event loop, which does not run."""
        self._is_closed = True
        if self._link is not None:
            self._link.abandon()

    def persist(
        self,
        attempt: "Callable[[Link], Awaitable[T]]",
        *,
        repair: "Callable[[Link], Awaitable[object]] | None" = None,
        deadline: float | None = None,
    ) -> "Coroutine[Any, Any, T]":
        """Repeat *attempt* until it succeeds, however often the connection breaks.

        Only for commands that may run twice: when a connection breaks, it is unknown
        whether the command ran.

        Args:
            attempt: Sends the command over the link that it is given.
            repair: Creates streams and groups again if they are gone.
            deadline: Seconds after which to stop trying; None is never. While a call is on its
                way to Redis and makes progress, it is not stopped.

        Raises:
            QueueUnavailable: *deadline* passed, or the queue was closed.
            CallTooLarge: Redis refuses the size of the call, or cannot send one of the reply's.
            CommandError: Redis refused, and another try would not help.
        """
        # The coroutine itself: each round trip makes several of these calls.
        if deadline is None:
            return self._retry(attempt, repair)
        return self._retry_within(deadline, attempt, repair)

    async def _retry_within(
        self,
        deadline: float,
        attempt: "Callable[[Link], Awaitable[T]]",
        repair: "Callable[[Link], Awaitable[object]] | None",
    ) -> T:
        try:
            async with Patience(deadline, self._is_sending):
                return await self._retry(attempt, repair)
        except TimeoutError as error:
            raise unreachable(self._last_error or error, deadline) from self._last_error

    def _is_sending(self) -> bool:
        return self._link is not None and self._link.is_sending()

    async def _retry(
        self,
        attempt: "Callable[[Link], Awaitable[T]]",
        repair: "Callable[[Link], Awaitable[object]] | None",
    ) -> T:
        outage: _Outage | None = None
        cuts = 0
        while True:
            link = self._link
            if link is not None and link.is_lost:
                link = None
            try:
                if link is None:
                    link = await self.link()
                # Others over this link may have been cut for the size of one of their calls.
                done = await (attempt(link) if cuts < MOST_CUTS else self._try_alone(attempt, cuts))
            except (LinkLost, CommandError) as error:
                # A connection that never opened says nothing about the size.
                cuts = cuts + 1 if link is not None and isinstance(error, LinkCut) else 0
                outage = outage or _Outage(self._longest_pause, self._role, self._connector)
                await self._handle(error, outage, repair)
            else:
                if outage is not None:
                    outage.log_end()
                return done

    async def _try_alone(self, attempt: "Callable[[Link], Awaitable[T]]", cuts: int) -> T:
        """Make an attempt over a connection that nothing else uses.

        Raises:
            CallTooLarge: This connection was cut as well, as were *cuts* before it.
            LinkLost: It was cut, but not often enough to be sure, or was lost for another reason.
        """
        connector, timeout = self._connector, self._reply_timeout
        try:
            link = await connector.open_link(self._role, reply_timeout=timeout)
        except LinkCut as error:
            raise LinkLost(str(error)) from error
        try:
            return await attempt(link)
        except LinkCut as error:
            if cuts + 1 < 2 * MOST_CUTS:
                raise
            raise CallTooLarge(
                "Redis closes the connection at this call or its reply: it may be over "
                "client-query-buffer-limit or client-output-buffer-limit there"
            ) from error
        finally:
            link.close()

    async def _handle(
        self,
        error: LinkLost | CommandError,
        outage: "_Outage",
        repair: "Callable[[Link], Awaitable[object]] | None",
    ) -> None:
        """Do what helps against *error*, then pause; raise it if nothing helps."""
        if is_too_large(error):
            raise CallTooLarge(f"the call is over proto-max-bulk-len of Redis ({error})") from error
        if self._is_closed and isinstance(error, LinkLost):
            raise QueueUnavailable(
                "the queue was closed before Redis answered: the call may have passed, or not"
            ) from error
        remedy = remedy_for(error)
        is_hopeless = remedy in {Remedy.NONE, Remedy.PUSH_BACK}
        if self._is_closed or is_hopeless or (remedy is Remedy.REPAIR and repair is None):
            if (advised := with_advice(error)) is not error:
                raise advised from error
            raise error
        self._last_error = with_advice(error)
        outage.log_start(self._last_error, remedy)
        if is_elsewhere(error):
            if (address := moved_to(error)) is not None:
                self._connector.redirect(*address)
            self.drop()
        if remedy is Remedy.REPAIR and repair is not None:
            await self._try_repair(repair)
        await outage.backoff.pause()

    async def _try_repair(self, repair: "Callable[[Link], Awaitable[object]]") -> None:
        try:
            await repair(await self.link())
        except (LinkLost, CommandError) as error:
            logger.warning("cannot create streams and groups again yet: %s", error)


class _Outage:
    """A series of tries that fail."""

    def __init__(self, longest_pause: float, role: str, connector: Connector) -> None:
        self._role = role
        self._connector = connector
        self.backoff = Backoff(FIRST_PAUSE, longest_pause)
        self._started = clock.monotonic()
        self._is_logged = False
        self._ends = ""  # the text of its last log line

    def log_start(self, error: Exception, remedy: Remedy) -> None:
        """Log the first error, with what it means."""
        if not self._is_logged:
            self._is_logged = True
            begins, self._ends = _lines_of(error, remedy)
            logger.warning("%s: %s", begins, error)
            self._report(error, 0.0)

    def log_end(self) -> None:
        """Log how long the outage lasted."""
        seconds = clock.monotonic() - self._started
        logger.warning("%s after %.2f s", self._ends, seconds)
        self._report(None, seconds)

    def _report(self, error: Exception | None, seconds: float) -> None:
        if self._connector.on_outage is not None:
            self._connector.on_outage(self._role, error, seconds)


def _lines_of(error: Exception, remedy: Remedy) -> tuple[str, str]:
    """Return what an outage that begins with *error* is called in the log: its start, its end."""
    if isinstance(error, LinkLost):
        return "Redis is not responding, retrying", "Redis responds again"
    if remedy is Remedy.REPAIR:
        return (
            "streams or groups of the queue are gone, creating them again",
            "the streams and groups of the queue are there again",
        )
    return "Redis refuses a request for now, retrying", "Redis accepts the request again"
