"""A worker frees the key of a job that it is about to run, and no other key."""

import pytest

from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.unique import free_key
from tests.support.store import Store


async def test_of_its_holder(store: Store) -> None:
    """The key goes, and other keys stay; repeating it changes nothing."""
    await store.enqueue_unique("k", "a")
    await store.enqueue_unique("other", "b")
    for _ in range(2):
        await free_key(store.queue, "k", "a")
        assert await store.hash_at(store.keys.unique) == {"other": "b"}


async def test_of_another_job(store: Store) -> None:
    """A job that has lost its key to another one leaves it alone."""
    await store.enqueue_unique("k", "a")
    await free_key(store.queue, "k", "b")
    assert await store.hash_at(store.keys.unique) == {"k": "a"}


async def test_key_of_another_type(store: Store) -> None:
    """The error names the key."""
    await store.call("SET", store.keys.unique, "v")
    with pytest.raises(CommandError, match="unique"):
        await free_key(store.queue, "k", "a")
