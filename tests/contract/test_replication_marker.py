"""replication_marker.lua: a write for WAIT to wait for."""

from tests.support.store import Store


async def test_marker_is_written_each_time_and_expires(store: Store) -> None:
    """A repeated call is a write too, as otherwise WAIT would have nothing to wait for."""
    key = store.keys.confirm
    assert await store.queue.run("replication_marker", [key], [60_000]) == 1
    assert await store.call("PEXPIRE", key, 1_000) == 1
    assert await store.queue.run("replication_marker", [key], [60_000]) == 1
    assert 1_000 < await store.pttl(key) <= 60_000
