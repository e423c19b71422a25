"""The end of systemd that a service talks to: a datagram socket that is listened to."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class NotifySocket:
    """Collects what is sent to it.

    Args:
        address: As it is given in `$NOTIFY_SOCKET`: a path, or an abstract name after an "@".
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.lines: list[str] = []  #: all that was said, in order; a message may have several
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def count(self, line: str) -> int:
        """Say how often a line has come."""
        return self.lines.count(line)

    def __enter__(self) -> Self:
        """Begin to listen, in the running loop."""
        name = self.address
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        with suppress(BlockingIOError):  # there is no more
            while True:
                self.lines += self._socket.recv(4096).decode().splitlines()
