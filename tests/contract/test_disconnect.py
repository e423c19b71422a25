"""The connections on which dead workers read are ended, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from aiostreamq.store.connection.link import Link
from aiostreamq.store.workers import DeadWorker, reader_role
from tests.support.store import Store


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A queue on a real Redis: in memory there are no connections."""
    async with Store(redis_url) as store:
        yield store


async def reader_of(store: Store, name: str) -> tuple[Link, int]:
    """Return a connection on which a worker reads, and its id."""
    link = await store.connector.open_link(reader_role(name))
    return link, cast("int", await link.call("CLIENT", "ID"))


async def living_ids(store: Store) -> set[int]:
    """Return the ids of all connections."""
    clients = cast("bytes", await store.call("CLIENT", "LIST")).decode()
    return {int(line.partition(" ")[0].removeprefix("id=")) for line in clients.splitlines()}


@pytest.mark.parametrize("is_known", [True, False])
async def test_reader_is_ended(store: Store, is_known: bool) -> None:
    """It is found by its id, and by its name if the id is unknown."""
    readers = {name: await reader_of(store, name) for name in ("a", "b", "living")}
    dead = [DeadWorker(name, "0 1000", readers[name][1] if is_known else 0) for name in ("a", "b")]
    await store.workers.disconnect(dead)
    left = await living_ids(store)
    assert {name for name, (_, client) in readers.items() if client in left} == {"living"}
    for link, _ in readers.values():
        link.close()


async def test_one_unknown_id_hides_no_other(store: Store) -> None:
    """Workers whose ids are known and unknown are claimed together."""
    readers = {name: await reader_of(store, name) for name in ("a", "b")}
    dead = [DeadWorker("a", "0 1000", readers["a"][1]), DeadWorker("b", "0 1000", 0)]
    await store.workers.disconnect(dead)
    assert not {client for _, client in readers.values()} & await living_ids(store)
    for link, _ in readers.values():
        link.close()


async def test_id_of_another_client(store: Store) -> None:
    """Ids start again with the server: the connection of a living worker stays."""
    link, client = await reader_of(store, "living")
    await store.workers.disconnect([DeadWorker("dead", "0 1000", client)])
    assert client in await living_ids(store)
    link.close()


async def test_connection_that_is_gone(store: Store) -> None:
    """A worker that was killed has none any more."""
    await store.workers.disconnect([DeadWorker("dead", "0 1000", 4711)])
    assert await living_ids(store)
