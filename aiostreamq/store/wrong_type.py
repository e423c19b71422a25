"""Find the key behind the error WRONGTYPE of Redis, which does not name it.

Decision 0016 says which damage is an error, and which is survived.
"""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq.errors import AioStreamQError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiostreamq.store.connection.link import Argument, Reply

# The type of each key, by its name up to the first colon.
_TYPES = {
    **dict.fromkeys(
        ("stream:", "events:", "parked:", "dead", "recent", "control", "audit"), "stream"
    ),
    "bell": "stream",
    **dict.fromkeys(("job:", "schedule:", "stats:", "bytes:", "lock:"), "hash"),
    **dict.fromkeys(("workers", "leases", "schedules", "paused", "unique", "totals"), "hash"),
    **dict.fromkeys(("held", "limits", "limit_defaults", "limit_rules"), "hash"),
    **dict.fromkeys(("alive", "delayed", "cancelled", "schedule_due", "schedule_due_code"), "zset"),
    **dict.fromkeys(("room:", "room_calls:", "lock_line:"), "zset"),
    **dict.fromkeys(("ready", "due", "backlog:", "permits:", "blocked:", "order:"), "zset"),
    **dict.fromkeys(("place", "lock_fence"), "string"),
    "inbox:": "list",
    "parked": "set",
}

# Keys with one of these names are looked for under the texts that a script is given.
_NAMED_BY_ARGUMENTS = ("stream:", "job:", "schedule:", "parked:")

# Characters of an argument that may be an id or a name, and how many keys one search looks at.
_LONGEST_NAME, _MOST_KEYS = 200, 5_000


async def wrong_keys(
    call: "Callable[[str, str], Awaitable[Reply]]",
    prefix: str,
    keys: "Iterable[str]",
    arguments: "Iterable[Argument]",
) -> list[str]:
    """Return the keys of another type than the scripts make, of those that a call may have used.

    None are found if Redis does not answer, or the user may not run TYPE.

    Args:
        call: Sends a plain command.
        prefix: The beginning of all keys of the queue.
        keys: The keys of the call.
        arguments: Its arguments, of which some may be ids or names.
    """
    names = dict.fromkeys(_text(one) for one in arguments)
    of_arguments = [prefix + kind + name for name in names if name for kind in _NAMED_BY_ARGUMENTS]
    of_queue = [prefix + kind for kind in _TYPES if not kind.endswith(":")]
    candidates = [*dict.fromkeys([*keys, *of_queue, *of_arguments])][:_MOST_KEYS]
    try:
        types = await asyncio.gather(*(call("TYPE", key) for key in candidates))
    except AioStreamQError:
        return []
    return [
        key
        for key, found in zip(candidates, types, strict=True)
        if found not in {b"none", _type_of(key.removeprefix(prefix)).encode()}
    ]


def _type_of(name: str) -> str:
    head, colon, _ = name.partition(":")
    return _TYPES.get(head + colon, "string")


def _text(argument: "Argument") -> str:
    """Return an argument as text, or an empty one if it is too long for a name."""
    if isinstance(argument, bytes):
        argument = argument[:_LONGEST_NAME].decode(errors="replace")
    return argument if isinstance(argument, str) and len(argument) < _LONGEST_NAME else ""
