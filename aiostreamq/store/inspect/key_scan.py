"""Scanning the keys of Redis: for all keys of a queue, or for its lanes."""

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import RESERVED, RETURNED, Keys
from aiostreamq.store.queue import OPEN_TIMEOUT, QueueStore

if TYPE_CHECKING:
    from aiostreamq.store.connection.connector import Connector

# How many keys one step of a scan looks at (some 0.2 ms of Redis), and how many steps it has at
# most, so that a Redis with a hundred million keys is not scanned completely.
STEP = 1000
MOST_STEPS = 1000


_STREAM = re.compile(r"aiostreamq:\{([^{}]+)\}:stream:(.+)")


class Lanes(NamedTuple):
    """The lanes of a queue in Redis."""

    exists: bool  #: whether any program has opened the queue
    lanes: list[str]
    is_whole: bool  #: whether all keys of Redis were scanned
    looked_at: int  #: about how many keys were scanned


async def scan(queue: QueueStore, prefix: str) -> tuple[set[str], bool]:
    """Return what follows *prefix* in the keys that have it, and whether all keys were scanned.

    Redis serves other clients between the steps.

    Raises:
        CommandError: Redis refuses to scan.
        QueueUnavailable: Redis cannot be reached.
    """
    keys, is_whole = await _scan_for(queue, literal(prefix) + "*")
    return {key.removeprefix(prefix) for key in keys}, is_whole


async def _scan_for(queue: QueueStore, pattern: str) -> tuple[set[str], bool]:
    found: set[str] = set()
    cursor = b"0"
    for _ in range(MOST_STEPS):
        reply = await queue.call(
            "SCAN", cursor, "MATCH", pattern, "COUNT", STEP, deadline=OPEN_TIMEOUT
        )
        cursor, keys = cast("tuple[bytes, list[bytes]]", reply)
        found.update(key.decode(errors="replace") for key in keys)
        if cursor == b"0":
            return found, True
    return found, False


async def find_lanes(connector: "Connector", name: str) -> Lanes:
    """Return the lanes of the queue *name*, which need not exist. Nothing is changed.

    Raises:
        CommandError: Redis refuses to scan.
        QueueUnavailable: Redis cannot be reached.
    """
    keys = Keys(name)
    queue = QueueStore(connector, keys, ())
    try:
        # The first question: it leads to the node of a cluster that has the queue.
        is_there = await queue.call("EXISTS", *queue.streams, deadline=OPEN_TIMEOUT)
        if not is_there:
            return Lanes(False, [], True, 0)
        found, is_whole = await scan(queue, keys.stream(""))
        return Lanes(True, sorted(found.difference(RESERVED)), is_whole, STEP * MOST_STEPS)
    finally:
        queue.close()


async def find_queues(connector: "Connector") -> dict[str, list[str]]:
    """Return the lanes of each queue that a program has opened in a Redis, by the queue's name.

    Up to a million keys of Redis are looked at. Nothing is changed.

    Raises:
        CommandError: Redis refuses to scan.
        QueueUnavailable: Redis cannot be reached.
    """
    queue = QueueStore(connector, Keys("default"), ())  # any queue: it is only asked by it
    try:
        keys, _ = await _scan_for(queue, "aiostreamq:{*}:stream:*")
    finally:
        queue.close()
    lanes: dict[str, list[str]] = {}
    for key in sorted(keys):
        if found := _STREAM.fullmatch(key):
            lanes.setdefault(found[1], []).append(found[2])
    return {
        name: [lane for lane in found if lane not in RESERVED]
        for name, found in lanes.items()
        if RETURNED in found and set(found).difference(RESERVED)
    }


def literal(text: str) -> str:
    """Return the pattern that only *text* matches."""
    return "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in text)
