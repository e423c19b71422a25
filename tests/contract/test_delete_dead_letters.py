"""delete_dead_letters.lua: dead letters are purged."""

from aiostreamq.store.dead_letters import DeadLetterStore
from tests.support.store import Store


async def test_deleted_letters_are_counted_once(store: Store) -> None:
    """The others stay, and a repeated call finds none."""
    dead = store.keys.dead
    for number in (1, 2, 3):
        await store.call("XADD", dead, f"{number}-0", "id", f"job{number}")
    graveyard = DeadLetterStore(store.queue)
    assert await graveyard.purge(["1-0", "3-0", "9-0"]) == 2
    assert await graveyard.purge(["1-0", "3-0", "9-0"]) == 0
    assert [one["id"] for one in await store.stream_at(dead)] == ["job2"]
