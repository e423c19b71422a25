"""One pipelined connection to Redis.

redis-py opens the connection (address, TLS, authentication, Sentinel). From then on commands
and replies go through here, because a command costs redis-py four to five times the processor
time that it costs this (docs/decisions/0002-own-link.md).

Rules of this file:

- Commands go out in the order of the calls, replies come back in that order,
  and each call has a future of its own. A caller that stops waiting abandons
  only that future: the reply is still read and discarded, so cancelling cannot
  give one caller's reply to another.
- Nothing is retried here. When a link is lost, every call under way fails with
  LinkLost. Whether its command ran is then unknown; the callers know whether it
  may be sent again.
"""

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import hiredis

from aiostreamq import clock
from aiostreamq.errors import BrokerError, QueueUnavailable
from aiostreamq.store.connection.upload_progress import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

Argument: TypeAlias = str | bytes | int
Reply: TypeAlias = "bytes | int | list[Reply] | None"

# The annotation of hiredis is a tuple with one item.
pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

# hiredis returns this if the bytes so far are not a whole reply.
_INCOMPLETE = object()


class LinkLost(QueueUnavailable):
    """The connection to Redis broke; whether the command ran is unknown."""


class LinkCut(LinkLost):
    """Redis, or something between, closed the connection: maybe because of the call's size."""


class CallTooLarge(BrokerError):
    """Redis refuses the call for its size, or cannot send the reply for its size."""


class CommandError(BrokerError):
    """Redis answered with an error; the first word of the message is its code."""

    @property
    def code(self) -> str:
        """The first word of the error, as in NOSCRIPT or OOM."""
        return str(self).partition(" ")[0]


class Link(Protocol):
    """The connection that the store needs."""

    @property
    def is_lost(self) -> bool:
        """Whether this link is closed or broken: it brings no more replies."""
        ...

    @property
    def received(self) -> int:
        """Bytes of all replies so far; 0 if they come from this process."""
        ...

    def is_sending(self) -> bool:
        """Whether calls are still on their way to Redis, and get there bit by bit."""
        ...

    def call(self, *command: Argument) -> "asyncio.Future[Reply]":
        """Send a command; the future holds its reply, CommandError or LinkLost."""
        ...

    def close(self) -> None:
        """Close the connection; calls under way fail with LinkLost."""
        ...

    def take_out(self) -> "socket.socket | None":
        """Close this link, and return its socket for threads, or None if that is impossible."""
        ...

    def abandon(self) -> None:
        """Close the connection from outside of its event loop, which does not run."""
        ...


class SocketLink(asyncio.Protocol):
    """A link over a socket that redis-py has opened."""

    def __init__(
        self, transport: asyncio.Transport, reply_timeout: float, on_close: "Callable[[], None]"
    ) -> None:
        self.received = 0  #: bytes of all replies so far
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        # Seconds without any progress, of replies or calls, before the link is given up.
        self._reply_timeout = reply_timeout
        self._on_close = on_close
        self._parser = hiredis.Reader(replyError=CommandError, notEnoughData=_INCOMPLETE)
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._lost: LinkLost | None = None
        self._watch: asyncio.TimerHandle | None = None  # set while replies are awaited
        self._heard = 0.0  # when the last reply came, or the first call that waits was sent
        self._upload = Upload(transport)
        self._looked = 0.0  # when the upload was last looked at
        transport.set_protocol(self)
        # asyncio calls connection_made only for the first protocol of a transport.
        if transport.is_closing():
            self._give_up(LinkLost("the connection was closed while it was opened"))

    @property
    def is_lost(self) -> bool:
        """Whether this link is closed or broken."""
        return self._lost is not None

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send a command; the future holds its reply."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self._lost is not None:
            future.set_exception(self._lost)
            return future
        self._transport.write(pack(command))
        if not self._waiting:
            self._heard = clock.monotonic()
            if self._watch is None:
                self._watch = self._loop.call_later(self._reply_timeout / 4, self._check_silence)
        self._waiting.append(future)
        return future

    def is_sending(self) -> bool:
        """Whether calls are still on their way to Redis, and get there bit by bit."""
        return self._lost is None and self._upload.is_moving(clock.monotonic())

    def close(self) -> None:
        """Close the connection."""
        self._give_up(LinkLost("the connection was closed"))

    def take_out(self) -> "socket.socket | None":
        """Close this link, and return its socket for threads, or None if that is impossible.

        It is under TLS, whose state is in the event loop, and with uvloop, which has sockets of
        its own.
        """
        held, taken = self._transport.get_extra_info("socket"), None
        is_secure = self._transport.get_extra_info("sslcontext") is not None
        if self._lost is None and isinstance(held, TransportSocket) and not is_secure:
            taken = socket.socket(fileno=os.dup(held.fileno()))
        self.close()
        return taken

    def abandon(self) -> None:
        """Close the connection from outside of its event loop, which does not run.

        The loop is not touched: it is closed, or it belongs to the process that this one was
        forked from, and parts of it are shared with that process. So waiting calls never end.
        """
        if self._lost is not None:
            return
        self._lost = LinkLost("the event loop of this connection has ended")
        held = self._transport.get_extra_info("socket")
        # uvloop has an object of its own here, whose number may be in use again. But uvloop
        # closes its sockets when it ends.
        if isinstance(held, TransportSocket) and held.fileno() >= 0:
            # The number stays, but leads to nothing: closing it later does no harm. In a fork the
            # connection of the other process stays open, which `shutdown` would end.
            with socket.socket() as nothing:
                os.dup2(nothing.fileno(), held.fileno(), inheritable=False)

    def data_received(self, data: bytes) -> None:
        """Give replies to the calls that wait for them; asyncio calls this."""
        self._heard = clock.monotonic()
        self.received += len(data)
        parser, waiting = self._parser, self._waiting
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _INCOMPLETE:
                future = waiting.popleft()
                if future.done():
                    continue  # its caller was cancelled
                if isinstance(reply, CommandError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            # From here on replies can no longer be matched with calls.
            lost = LinkLost(f"Redis sent an invalid reply: {error!r}")
            self._give_up(lost)

    def eof_received(self) -> None:
        """Handle that the server closes; asyncio calls this."""
        self._give_up(LinkCut("Redis closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle that the socket is gone; asyncio calls this."""
        self._give_up(LinkCut(f"the connection to Redis broke: {exc or 'closed'}"))

    def _check_silence(self) -> None:
        """Give the link up if nothing has moved for too long; looks four times as often."""
        self._watch = None
        if not self._waiting:
            return
        now = clock.monotonic()
        if self._looked <= self._heard:
            self._upload.forget()  # progress before the last reply does not count
        self._upload.look(now)
        self._looked = now
        left = max(self._heard, self._upload.moved) + self._reply_timeout - now
        if left > 0:
            pause = min(left, self._reply_timeout / 4)
            self._watch = self._loop.call_later(pause, self._check_silence)
        else:
            seconds = f"{self._reply_timeout:g} s"
            self._give_up(LinkLost(f"a connection was given up after {seconds} of silence"))

    def _give_up(self, why: LinkLost) -> None:
        if self._lost is not None:
            return
        self._lost = why
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport.abort()
        self._on_close()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(why)
