"""A connection that the calling thread waits on itself, without an event loop.

An event loop opens it, as it opens every link (`Link.take_out`), so that there is one way to
find, authenticate and name a connection. It is for one command at a time, and for commands that
may be repeated: after any error it must be closed.
"""

import socket
import struct
from typing import TYPE_CHECKING, cast

import hiredis

from aiostreamq.store.connection.link import CommandError, LinkCut, LinkLost, pack

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Argument, Reply

# hiredis returns this if the bytes so far are not a whole reply.
_INCOMPLETE = object()

# Bytes that are read at a time. The replies are short.
READ = 16 * 1024


class _Socket(socket.socket):
    """A socket that is closed without a warning if it is collected, which its queue may be."""

    def __del__(self) -> None:
        self.close()


class DirectLink:
    """A connection to Redis for one thread at a time."""

    def __init__(self, connection: socket.socket, reply_timeout: float) -> None:
        """Take over a connected socket.

        Args:
            connection: The socket.
            reply_timeout: Seconds without progress before a call fails.
        """
        connection.setblocking(True)
        # By the kernel: with a timeout of its own, Python asks it once more before each read.
        seconds = int(reply_timeout)
        limit = struct.pack("ll", seconds, int((reply_timeout - seconds) * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, limit)
        self._socket = _Socket(fileno=connection.detach())
        self._parser = hiredis.Reader(replyError=CommandError, notEnoughData=_INCOMPLETE)

    def call(self, command: "tuple[Argument, ...]") -> "Reply":
        """Send a command, and block until its reply is here.

        Raises:
            CommandError: Redis refused.
            LinkLost: The connection broke, or no reply came in time; whether the command ran is
                unknown.
        """
        parser = self._parser
        try:
            self._socket.sendall(pack(command))
            while (reply := parser.gets()) is _INCOMPLETE:
                data = self._socket.recv(READ)
                if not data:
                    raise LinkCut("Redis closed the connection")
                parser.feed(data)
        except BlockingIOError as error:  # the time of the kernel is up
            raise LinkLost("Redis did not reply in time") from error
        except (OSError, hiredis.ProtocolError) as error:
            raise LinkCut(f"the connection to Redis broke: {error}") from error
        if isinstance(reply, CommandError):
            raise reply
        return cast("Reply", reply)

    def close(self) -> None:
        """Close the connection here. In a process that was forked, its parent keeps it."""
        self._socket.close()
