"""The Lua scripts: the protocol of the queue, read from `lua/`.

A script, or a part, names the parts that it uses on a line of its header, and a script names the
flags that it runs with:

    -- uses: job stats
    -- flags: allow-oom

A script can have another one as its second half, which it names too:

    -- then: settle

The flag lets a script run when Redis is out of memory. All that frees memory needs it, and all
that shows that a worker lives; only what brings new jobs may fail then. Without it a script still
runs if its first write needs no memory, such as an XACK.
"""

import asyncio
from functools import cache
from hashlib import sha1
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.store.connection.link import Argument, CommandError, Link, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.store.connection.server import Server

SCRIPTS = (
    "create_groups",
    "enqueue",
    "enqueue_unique",
    "free_key",
    "subscribe",
    "push_inbox_marker",
    "settle",
    "settle_and_continue",
    "record_stats",
    "requeue",
    "enqueue_held",
    "hold",
    "quiet_limits",
    "end_quiet",
    "charge_rate",
    "admit",
    "find_lost_backlogs",
    "declare_limits",
    "set_limit",
    "list_limits",
    "explain_limits",
    "check_limits",
    "dead_letter_unreadable",
    "job_state",
    "deregister_worker",
    "renew_lease",
    "find_dead_workers",
    "register_strays",
    "list_holders",
    "recover_worker",
    "read_lanes",
    "read_many_lanes",
    "skip_cancelled",
    "note_suspect_run",
    "enqueue_delayed",
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
    "cancel_lane",
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
    "take_lock",
    "renew_lock",
    "release_lock",
)


class _File(NamedTuple):
    """A script or a part, and what its header says."""

    text: str
    uses: tuple[str, ...]
    flags: str
    then: str  #: the script that is its second half; empty if it has none


# Not importlib.resources, which takes longer to import.
_FOLDER = Path(__file__).with_name("lua")


@cache
def _file(name: str) -> _File:
    text = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    parts = tuple(f"parts/{part}" for part in _stated(text, "uses").split())
    return _File(text, parts, _stated(text, "flags"), _stated(text, "then"))


def _stated(text: str, what: str) -> str:
    """Return what the header of a file states, as in "-- flags: no-writes"; empty if nothing."""
    return text.partition(f"\n-- {what}: ")[2].partition("\n")[0]


@cache
def _in_order(name: str) -> tuple[str, ...]:
    """Return the parts of a script, each after those that it uses itself, and then the script.

    Its second half follows, also after its parts.
    """
    file = _file(name)
    names = [*chain.from_iterable(map(_in_order, file.uses)), name]
    if file.then:
        names += _in_order(file.then)
    return tuple(dict.fromkeys(names))


@cache
def _source(name: str, *, on_cluster: bool) -> str:
    guard = ("parts/slot_migration_guard",) if on_cluster else ()
    return "\n".join(_file(one).text for one in dict.fromkeys((*guard, *_in_order(name))))


class Script:
    """One script in the form that one kind of server takes."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, server: "Server") -> None:
        self.name = name
        # Redis 7 reads a line of flags; 6.2 takes it for a syntax error.
        flags = _file(name).flags if server.takes_script_flags else ""
        source = _source(name, on_cluster=server.is_cluster)
        self.source = (f"#!lua flags={flags}\n" if flags else "") + source
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self, link: Link, keys: "Sequence[str]", arguments: "Sequence[Argument]"
    ) -> Reply:
        """Run it once. Load it first if the server does not have it (any more).

        Raises:
            CommandError: The script, or Redis, refused.
            LinkLost: The connection broke; whether the script ran is unknown.
        """
        try:
            return await self.call(link, keys, arguments)
        except CommandError as error:
            if error.code != "NOSCRIPT":
                raise
        # Both at once, so that no SCRIPT FLUSH comes between the two.
        _, reply = await asyncio.gather(self.load(link), self.call(link, keys, arguments))
        return reply

    def call(
        self, link: Link, keys: "Sequence[str]", arguments: "Sequence[Argument]"
    ) -> "asyncio.Future[Reply]":
        """Send the call once. The server must have the script."""
        return link.call("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def load(self, link: Link) -> "asyncio.Future[Reply]":
        """Have the server keep it."""
        # SCRIPT LOAD and not EVAL: since Redis 7.4 what EVAL loads can be evicted.
        return link.call("SCRIPT", "LOAD", self.source)


@cache
def scripts_for(server: "Server") -> "Mapping[str, Script]":
    """Return all scripts by their names, in the form that *server* takes."""
    return {name: Script(name, server) for name in SCRIPTS}
