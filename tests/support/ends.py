"""How jobs have ended, as the counters and the index of a queue tell it."""

from collections import Counter
from typing import cast

from aiostreamq.model.stats import Ended, read_recent, read_stats
from tests.support.store import Store


async def counters(store: Store) -> list[list[tuple[bytes, bytes]]]:
    """Return the counters of all minutes."""
    names = [name for name in await store.key_names() if name.startswith("stats:")]
    hashes = [await store.hash_at(store.keys.prefix + name) for name in names]
    return [[(name.encode(), value.encode()) for name, value in one.items()] for one in hashes]


async def states(store: Store) -> Counter[tuple[str, str]]:
    """Return how many jobs were counted, by task and state."""
    found: Counter[tuple[str, str]] = Counter()
    for task, ends in read_stats(await counters(store)).items():
        found.update({(task, state): n for state, n in ends.states.items()})
    return found


async def recent(store: Store) -> list[Ended]:
    """Return the jobs of the index, the oldest entry first."""
    reply = cast(
        "list[tuple[bytes, list[bytes]]]", await store.call("XRANGE", store.keys.recent, "-", "+")
    )
    entries = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in reply]
    return [one for entry in entries for one in read_recent(entry)]
