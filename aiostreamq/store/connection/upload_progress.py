"""The bytes that a connection still has to send, and whether they move.

A call of megabytes over a slow network takes longer than a reply may take. Such an upload is not
silence. The system is asked how much is on its way, only while replies are late, so that calls
do not have to count their bytes.
"""

import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

# Where Linux (4.1 and newer) has the number of acknowledged bytes in its answer to TCP_INFO.
_ACKED_AT = 120
_ACKED = struct.Struct("Q")

# Seconds for which an upload counts as moving after its last progress: several round trips.
QUIET = 2.5


class Upload:
    """The bytes of one connection that have not arrived yet."""

    def __init__(self, transport: "asyncio.Transport") -> None:
        self.left = 0  #: how many bytes were on their way at the last look
        self.moved = float("-inf")  #: when a look last found progress
        self._transport = transport
        self._progress: int | None = None  # at the last look; None if nothing was on its way

    def look(self, now: float) -> None:
        """Note what is on its way *now* (by the monotonic clock), and whether it has moved."""
        self.left, progress = self._measure()
        if self._progress is not None and progress > self._progress:
            self.moved = now
        self._progress = progress if self.left else None

    def is_moving(self, now: float) -> bool:
        """Look; return whether bytes are on their way, and not known to stand still."""
        is_first = self._progress is None
        self.look(now)
        return self.left > 0 and (is_first or now - self.moved < QUIET)

    def forget(self) -> None:
        """Compare the next look with no earlier one."""
        self._progress = None

    def _measure(self) -> tuple[int, int]:
        """Return how many bytes are on their way, and a number that grows as they arrive."""
        left = self._transport.get_write_buffer_size()
        found = self._transport.get_extra_info("socket")
        acked: int | None = None
        if found is not None and sys.platform == "linux":
            with suppress(OSError, ValueError):
                left += _queued(found.fileno())
                acked = _acked(found.fileno())
        return left, -left if acked is None else acked


def _queued(descriptor: int) -> int:
    """Return how many bytes the system has taken and the other side has not acknowledged."""
    import fcntl
    import termios

    reply = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4)
    return int.from_bytes(reply, sys.byteorder)


def _acked(descriptor: int) -> int | None:
    """Return how many bytes the other side has acknowledged, None if it is unknown."""
    # uvloop's sockets have no options, so this makes another one of the same number.
    view = socket.socket(fileno=descriptor)
    try:
        reply = view.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
    except OSError:  # a socket file
        return None
    finally:
        view.detach()
    if len(reply) < _ACKED_AT + _ACKED.size:
        return None
    # Some sandboxes leave it at 0.
    return _ACKED.unpack_from(reply, _ACKED_AT)[0] or None
