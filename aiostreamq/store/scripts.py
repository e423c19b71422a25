"""The Lua scripts: the protocol of the queue, read from `lua/`."""

import asyncio
from functools import cache
from hashlib import sha1
from pkgutil import get_data
from typing import TYPE_CHECKING, cast

from aiostreamq.store.connection.link import Argument, CommandError, Link, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.connection.server import Server

SCRIPTS = (
    "setup",
    "enqueue",
    "subscribe",
    "echo",
    "settle",
    "count",
    "hand_back",
    "bury",
    "status",
    "leave",
    "renew",
    "census",
    "reap",
    "take",
    "mark",
    "delay",
    "promote",
    "retry",
    "restore",
    "park",
    "release",
    "confirm",
    "replay",
    "purge",
    "emit",
    "cancel",
    "schedule",
    "declare",
    "due",
    "tick",
    "hold",
    "unschedule",
    "pause",
    "resume",
    "paused",
    "look",
)

# All but taking new jobs must pass when memory is full, or what frees it would stop: jobs
# that are due or recovered have to run, and whoever lives must be able to show it.
_PASS_WHEN_FULL = frozenset(
    {
        "setup",
        "settle",
        "hand_back",
        "bury",
        "mark",
        "renew",
        "reap",
        "take",
        "promote",
        "release",
        "subscribe",
        "echo",
        "cancel",
        "resume",
        "paused",
    }
)


# What ends a delivery, or moves it, asks first whose it is, and must not bring a cancelled
# job back to life; and what ends a job has it counted.
_CANCELLING = ("parts/ends", "parts/job", "parts/cancelled", "parts/cancelling")
_ENDING = ("cancel", "retry", "restore", "hand_back", "park", "bury")
_PARTS = {
    "count": ("parts/ends",),
    "settle": ("parts/cancelled",),
    **dict.fromkeys(_ENDING, _CANCELLING),
    "reap": (*_CANCELLING, "parts/moment"),
    "schedule": ("parts/define",),
    "declare": ("parts/define",),
}


@cache
def _source(name: str, *, on_cluster: bool) -> str:
    guard = ("parts/guard",) if on_cluster else ()
    return "\n".join(map(_file, (*guard, *_PARTS.get(name, ()), name)))


def _file(name: str) -> str:
    # Not importlib.resources: that would be a fifth of the import of aiostreamq.
    return cast("bytes", get_data("aiostreamq.store", f"lua/{name}.lua")).decode()


class Script:
    """One script in the form that one kind of server takes."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, server: "Server") -> None:
        self.name = name
        # The line of flags is Redis 7's; 6.2 takes it for a syntax error.
        flags = name in _PASS_WHEN_FULL and server.takes_script_flags
        source = _source(name, on_cluster=server.is_cluster)
        self.source = ("#!lua flags=allow-oom\n" if flags else "") + source
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self, link: Link, keys: "Sequence[str]", arguments: "Sequence[Argument]"
    ) -> Reply:
        """Run it once; loads it first where the server has not got it (any more).

        Raises:
            CommandError: The script, or Redis, refused.
            LinkLost: The connection broke; whether the script ran is unknown.
        """
        try:
            return await self.call(link, keys, arguments)
        except CommandError as error:
            if error.code != "NOSCRIPT":
                raise
        # One right behind the other, so that nobody's SCRIPT FLUSH comes between the two.
        _, reply = await asyncio.gather(self.load(link), self.call(link, keys, arguments))
        return reply

    def call(
        self, link: Link, keys: "Sequence[str]", arguments: "Sequence[Argument]"
    ) -> "asyncio.Future[Reply]":
        """Send the call once, for those who see to it that the server has the script."""
        return link.call("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def load(self, link: Link) -> "asyncio.Future[Reply]":
        """Have the server keep it."""
        # SCRIPT LOAD and not EVAL: since Redis 7.4 what EVAL loads can be evicted.
        return link.call("SCRIPT", "LOAD", self.source)
