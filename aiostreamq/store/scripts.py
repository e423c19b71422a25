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
    "create_groups",
    "enqueue",
    "subscribe",
    "ping_inbox",
    "settle",
    "record_stats",
    "requeue",
    "dead_letter_unreadable",
    "job_state",
    "deregister_worker",
    "renew_lease",
    "list_workers",
    "recover_worker",
    "read_lanes",
    "note_suspect_run",
    "delay",
    "promote",
    "retry",
    "requeue_deleted",
    "park",
    "unpark",
    "replication_marker",
    "replay_dead_letters",
    "delete_dead_letters",
    "append_events",
    "cancel",
    "put_schedule",
    "declare_schedules",
    "due_schedules",
    "fire_schedules",
    "pause_schedule",
    "delete_schedule",
    "pause",
    "resume",
    "list_pauses",
    "queue_snapshot",
)

# All but taking new jobs must pass when memory is full, or what frees it would stop: jobs
# that are due or recovered have to run, and whoever lives must be able to show it.
_PASS_WHEN_FULL = frozenset(
    {
        "create_groups",
        "settle",
        "requeue",
        "dead_letter_unreadable",
        "note_suspect_run",
        "renew_lease",
        "recover_worker",
        "read_lanes",
        "promote",
        "unpark",
        "subscribe",
        "ping_inbox",
        "cancel",
        "resume",
        "list_pauses",
    }
)


# What ends a delivery, or moves it, asks first whose it is, and must not bring a cancelled
# job back to life; and what ends a job has it counted.
_ENDING = ("stats", "job", "cancelled", "ending")
_LEAVING = (*_ENDING, "leave", "entry", "take_back", "check")
_DELAYED = ("time", "control", "delayed")
_STATE = ("job", "job_state")
_PARTS = {
    "append_events": ("job",),
    "cancel": (*_ENDING, "job_state", "entry", "time", "control", "check", "parked"),
    "dead_letter_unreadable": _LEAVING,
    "declare_schedules": ("time", "control", "check", "schedule"),
    "delay": ("put_new", *_DELAYED),
    "delete_schedule": ("time",),
    "due_schedules": (*_STATE, "schedule", "time"),
    "enqueue": ("put_new",),
    "fire_schedules": (*_STATE, "schedule", "put_new", "check", *_DELAYED),
    "job_state": _STATE,
    "list_pauses": ("time", "control", "check"),
    "park": (*_LEAVING, "parked"),
    "pause": ("time", "control", "check"),
    "pause_schedule": ("control", "check", "schedule"),
    "promote": ("put_again", *_DELAYED),
    "put_schedule": ("time", "control", "check", "schedule"),
    "queue_snapshot": ("time",),
    "record_stats": ("stats",),
    "recover_worker": (*_LEAVING, "put_again", "time", "moment"),
    "replay_dead_letters": (*_STATE, "put_again"),
    "requeue": (*_LEAVING, "put_again", "control"),
    "requeue_deleted": (*_ENDING, *_DELAYED),
    "resume": ("control", "check"),
    "retry": (*_LEAVING, "put_again", *_DELAYED),
    "settle": ("job", "cancelled", "leave"),
    "subscribe": _STATE,
    "unpark": ("job", "entry", "put_again", "check", "parked"),
}


@cache
def _source(name: str, *, on_cluster: bool) -> str:
    guard = ("parts/guard",) if on_cluster else ()
    parts = (f"parts/{part}" for part in _PARTS.get(name, ()))
    return "\n".join(map(_file, (*guard, *parts, name)))


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
