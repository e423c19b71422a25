"""Faults that a test can inject: lost replies, and a slow Redis."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq.store.connection.link import LinkLost
from aiostreamq.store.scripts import scripts_for

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.connection.server import Server

# The script whose reply is the confirmation that outcomes are stored.
SETTLE = "settle"


class Faults:
    """The faults that the links of one isolated queue have."""

    def __init__(self) -> None:
        self.delay = 0.0  #: seconds by which each reply is late
        self.lost_acks = 0  #: how many of the next confirmations are lost
        self._settle = ""  # the hash of the script

    def know_server(self, server: "Server") -> None:
        """Learn how scripts are called on this server."""
        self._settle = scripts_for(server)[SETTLE].sha

    @property
    def is_any(self) -> bool:
        """Whether there is any fault."""
        return self.delay > 0 or self.lost_acks > 0

    def takes_ack(self, command: "tuple[Argument, ...]", reply: "asyncio.Future[Reply]") -> bool:
        """Return whether the *reply* of a command is lost, and count it."""
        if self.lost_acks == 0 or command[:2] != ("EVALSHA", self._settle):
            return False
        if reply.cancelled() or reply.exception() is not None:
            return False  # the script did not run
        self.lost_acks -= 1
        return True


class FaultyLink:
    """A link whose replies may be lost or late."""

    def __init__(self, inner: "Link", faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    @property
    def received(self) -> int:
        """How many bytes of replies have come."""
        return self._inner.received

    @property
    def is_lost(self) -> bool:
        """Whether this link is closed or broken."""
        return self._inner.is_lost

    def is_sending(self) -> bool:
        """Return whether bytes are on their way."""
        return self._inner.is_sending()

    def call(self, *command: "Argument") -> "asyncio.Future[Reply]":
        """Send a command; the future holds its reply, if that is not lost."""
        reply = self._inner.call(*command)
        return self._disturbed(reply, command) if self._faults.is_any else reply

    def close(self) -> None:
        """Drop the connection."""
        self._inner.close()

    def take_out(self) -> None:
        """Drop the connection: threads have none of their own, so that each reply may be lost."""
        self._inner.close()

    def abandon(self) -> None:
        """Drop the connection from outside of its event loop, which does not run."""
        self._inner.abandon()

    def _disturbed(
        self, reply: "asyncio.Future[Reply]", command: "tuple[Argument, ...]"
    ) -> "asyncio.Future[Reply]":
        loop = asyncio.get_running_loop()
        outer: asyncio.Future[Reply] = loop.create_future()
        delay = self._faults.delay

        def arrive() -> None:
            if outer.done():
                return
            if reply.cancelled():
                outer.cancel()
            elif (error := reply.exception()) is not None:
                outer.set_exception(error)
            else:
                outer.set_result(reply.result())

        def come(_: "asyncio.Future[Reply]") -> None:
            if not reply.cancelled():
                reply.exception()  # retrieved, although its caller may have gone
            if not self._faults.takes_ack(command, reply):
                loop.call_later(delay, arrive) if delay else arrive()
                return
            self._inner.close()
            if not outer.done():
                outer.set_exception(LinkLost("the test has lost the reply"))

        reply.add_done_callback(come)
        return outer
