"""A network that misbehaves on demand: a TCP proxy between clients and a server.

Bytes from clients are requests, bytes from the server are replies; a chunk is what one read
gave. What a method asks for holds for every connection, those to come included, until it is
undone or used up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

CHUNK = 65_536

# Lingering for zero seconds: closing sends RST, and the client sees a connection reset.
RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Link:
    """One client's connection, and the one to the server that carries it on."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    replies_to_drop: int = 0
    silence: asyncio.Event | None = None  #: there once nothing gets through; set at the very end

    def close(self) -> None:
        """End both, after what was written to them."""
        self.client.close()
        self.server.close()

    def reset(self) -> None:
        """End both at once; what was not sent yet is lost."""
        if self.silence is not None:
            self.silence.set()
        for writer in (self.client, self.server):
            if not writer.is_closing():
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """Forward every connection on `port` to *server_port*, and spoil it when told to.

    Args:
        server_port: Where the server listens, on the loopback interface.
        window: The bytes that a client may send ahead: few, as on a slow network, for
            `request_rate`; 0 leaves it to the system, which takes megabytes.
    """

    def __init__(self, server_port: int, *, window: int = 0) -> None:
        self._window = window
        self.port = 0  #: known once started; stays through `refuse` and `accept`
        self.delay = 0.0  #: seconds that every chunk waits, either way
        self.request_rate = 0  #: bytes per second that go to the server; 0 is without a limit
        self.request_bytes = 0  #: forwarded to the server; never counts down
        self.reset_chance = 0.0  #: of every chunk, to be lost with its connection
        self.connections_made = 0  #: never counts down
        self.resets = 0  #: by `reset_chance`; never counts down
        self.reply_bytes = 0  #: forwarded to clients; never counts down
        self.replies_dropped = 0  #: chunks, by `drop_replies`; never counts down
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._drops_left = 0
        self._drop_marker = b""
        self._reply_bytes_left: int | None = None

    @property
    def url(self) -> str:
        """Where Redis clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    async def accept(self) -> None:
        """Listen for connections; after `refuse`, on the same port as before."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._window:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
        listening.bind(("127.0.0.1", self.port))
        self._listener = await asyncio.start_server(
            self._serve, sock=listening, limit=self._window or CHUNK
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    def lead_to(self, server_port: int) -> None:
        """Reset all connections; new ones go to another server."""
        self._server_port = server_port
        self.cut()

    def refuse(self) -> None:
        """Refuse new connections. Open ones continue."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """Reset all connections now."""
        for link in list(self._links):
            link.reset()

    def swallow(self) -> None:
        """Accept all bytes and forward none, as when a router in between has died.

        Neither side learns that the other has closed its connection.
        """
        self._flowing.clear()

    def strand(self) -> None:
        """Swallow what goes over the connections that are open now; new ones work.

        As when a router in between has forgotten them: neither side learns that the other has
        closed its end.
        """
        for link in self._links:
            link.silence = link.silence or asyncio.Event()

    def forward(self) -> None:
        """Undo `swallow`. What was swallowed is lost, so connections of that time are reset."""
        self._flowing.set()
        self.cut()

    def drop_replies(self, count: int = 1, *, to: bytes = b"") -> None:
        """Let commands run, but drop the next *count* chunks of replies, then reset.

        All are taken from one connection: the next that gets a reply or, with *to*, the next
        that sends those bytes, such as a command's name or a script's hash.
        """
        self._drops_left, self._drop_marker = count, to

    def cut_after(self, reply_bytes: int) -> None:
        """Forward this many more bytes of replies, then end the connection they were for.

        The way to a reply of which only a part arrives.
        """
        self._reply_bytes_left = reply_bytes

    def mend(self) -> None:
        """Forget what was asked of replies and has not met one yet."""
        self._reply_bytes_left = None
        self._drops_left = 0

    async def aclose(self) -> None:
        """Stop listening and reset all connections."""
        self.refuse()
        self.forward()
        await asyncio.gather(*self._links.values(), return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Start to listen."""
        await self.accept()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # the server is down, and the client gets to know
            client.transport.abort()
            return
        link = Link(client, server)
        task = asyncio.current_task()
        assert task is not None
        self.connections_made += 1
        self._links[link] = task
        try:
            await asyncio.gather(
                self._pass_requests(link, requests), self._pass_replies(link, replies)
            )
        finally:
            link.close()
            del self._links[link]

    async def _pass_requests(self, link: Link, requests: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(link, requests):
            if self._drop_marker and self._drop_marker in chunk:
                self._take_drops(link)
            self.request_bytes += len(chunk)
            await _write(link.server, chunk)
            if self.request_rate:
                await asyncio.sleep(len(chunk) / self.request_rate)
        link.close()

    async def _pass_replies(self, link: Link, replies: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(link, replies):
            if not self._drop_marker:
                self._take_drops(link)
            if link.replies_to_drop:
                self.replies_dropped += 1
                link.replies_to_drop -= 1
                if not link.replies_to_drop:
                    link.reset()
                continue
            self.reply_bytes += len(chunk)
            await _write(link.client, chunk[: self._reply_bytes_left])
            if self._is_last_reply(chunk):
                break
        link.close()

    async def _chunks(self, link: Link, source: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Yield what arrives and gets through."""
        with contextlib.suppress(OSError):  # a reset is an end like any other
            while chunk := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if random.random() < self.reset_chance:
                    self.resets += 1
                    link.reset()
                elif self._flowing.is_set() and link.silence is None:
                    yield chunk
        await self._flowing.wait()
        if link.silence is not None:
            await link.silence.wait()

    def _take_drops(self, link: Link) -> None:
        """Make *link* the connection that loses its replies, if one is asked for."""
        if self._drops_left:
            link.replies_to_drop, self._drops_left, self._drop_marker = self._drops_left, 0, b""

    def _is_last_reply(self, chunk: bytes) -> bool:
        if self._reply_bytes_left is None:
            return False
        self._reply_bytes_left = max(0, self._reply_bytes_left - len(chunk))
        if self._reply_bytes_left:
            return False
        self._reply_bytes_left = None
        return True


async def _write(writer: asyncio.StreamWriter, chunk: bytes) -> None:
    with contextlib.suppress(OSError):
        writer.write(chunk)
        await writer.drain()
