"""push_inbox_marker.lua: a mark behind the notices of an inbox."""

from aiostreamq.store.results import INBOX_MS
from tests.support.store import Store


async def test_ping_comes_after_earlier_notices(store: Store) -> None:
    """A reader that finds the mark has read them all; a repeated ping is one more mark."""
    await store.call("RPUSH", store.keys.inbox("me"), "a {}")
    await store.results.ping("me", "mark")
    await store.results.ping("me", "mark")
    assert await store.list_at(store.keys.inbox("me")) == [b"a {}", b" mark", b" mark"]


async def test_pinged_inbox_expires(store: Store) -> None:
    """The inbox of a process that has died does not stay."""
    await store.results.ping("me", "mark")
    assert 0 < await store.pttl(store.keys.inbox("me")) <= INBOX_MS
