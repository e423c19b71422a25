"""One pipelined connection to Redis.

redis-py opens the connection (address, TLS, authentication, Sentinel); from
then on the talking is done here, because a command costs redis-py four to five
times the processor time that it costs this (docs/decisions/0002-own-link.md).

Rules of this file:

- Commands go out in the order of the calls, replies come back in that order,
  and each call has a future of its own. Whoever stops waiting abandons only
  that future: the reply is still read and thrown away, so cancelling can not
  hand one caller's reply to another.
- Nothing is retried here. A lost link fails every call under way with
  LinkLost; whether a command ran is then unknown, and the callers know
  whether it may be sent again.
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

if TYPE_CHECKING:
    from collections.abc import Callable

Argument: TypeAlias = str | bytes | int
Reply: TypeAlias = "bytes | int | list[Reply] | None"

# hiredis's own annotation says a tuple of one.
_pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

# hiredis answers this where the bytes so far make no whole reply.
_INCOMPLETE = object()


class LinkLost(QueueUnavailable):
    """The connection to Redis broke; whether the command ran is not known."""


class CommandError(BrokerError):
    """Redis answered with an error; the first word of the message is its code."""

    @property
    def code(self) -> str:
        """The first word of the error, as in NOSCRIPT or OOM."""
        return str(self).partition(" ")[0]


class Link(Protocol):
    """What the store needs of a connection."""

    @property
    def is_lost(self) -> bool:
        """Whether this link is closed or broken: it answers no more."""
        ...

    def call(self, *command: Argument) -> "asyncio.Future[Reply]":
        """Send a command; the future holds its reply, CommandError or LinkLost."""
        ...

    def close(self) -> None:
        """Drop the connection; calls under way fail with LinkLost."""
        ...

    def abandon(self) -> None:
        """Drop the connection from outside of its event loop, which does not run."""
        ...


class SocketLink(asyncio.Protocol):
    """A link over a socket that redis-py has opened."""

    def __init__(
        self, transport: asyncio.Transport, reply_timeout: float, on_close: "Callable[[], None]"
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._reply_timeout = reply_timeout  # seconds without any reply before the link is given up
        self._on_close = on_close
        self._parser = hiredis.Reader(replyError=CommandError, notEnoughData=_INCOMPLETE)
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._lost: LinkLost | None = None
        self._watch: asyncio.TimerHandle | None = None  # set while replies are awaited
        self._heard = 0.0  # when the last reply came, or the first call that waits was sent
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
        self._transport.write(_pack(command))
        if not self._waiting:
            self._heard = clock.monotonic()
            if self._watch is None:
                self._watch = self._loop.call_later(self._reply_timeout, self._check_silence)
        self._waiting.append(future)
        return future

    def close(self) -> None:
        """Drop the connection."""
        self._give_up(LinkLost("the connection was closed"))

    def abandon(self) -> None:
        """Drop the connection from outside of its event loop, which does not run.

        The loop is not touched: it is closed, or it belongs to the process that this one was
        forked from, and some of it is shared with that. So nobody who waits is told.
        """
        if self._lost is not None:
            return
        self._lost = LinkLost("the event loop of this connection has ended")
        held = self._transport.get_extra_info("socket")
        # uvloop has an object of its own here, which may name a number that is in use again.
        # But uvloop closes its sockets when it ends.
        if isinstance(held, TransportSocket) and held.fileno() >= 0:
            # The number stays, and leads to nothing: whoever closes it later does no harm. In a
            # fork the connection of the other process goes on, which `shutdown` would end.
            with socket.socket() as nothing:
                os.dup2(nothing.fileno(), held.fileno(), inheritable=False)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them; asyncio calls this."""
        self._heard = clock.monotonic()
        parser, waiting = self._parser, self._waiting
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _INCOMPLETE:
                future = waiting.popleft()
                if future.done():
                    continue  # its caller went away
                if isinstance(reply, CommandError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            # Past this point replies and calls can not be told apart any more.
            lost = LinkLost(f"Redis sent what is no reply to a command: {error!r}")
            self._give_up(lost)

    def eof_received(self) -> None:
        """The server closes; asyncio calls this."""
        self._give_up(LinkLost("Redis closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; asyncio calls this."""
        self._give_up(LinkLost(f"the connection to Redis broke: {exc or 'closed'}"))

    def _check_silence(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        left = self._heard + self._reply_timeout - clock.monotonic()
        if left > 0:
            self._watch = self._loop.call_later(left, self._check_silence)
        else:
            self._give_up(LinkLost(f"Redis did not answer for {self._reply_timeout:g} s"))

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
