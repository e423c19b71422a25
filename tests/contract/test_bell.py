"""`bell` wakes one worker for held jobs: if that one is gone before it looked, another."""

from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from aiostreamq.model.delivery import HeldSubmission, WaiterMode
from aiostreamq.model.keys import GROUP
from aiostreamq.store.held import HeldJobs
from tests.support.store import DEADLINE, ENVELOPE, Store

LEASE_MS = 1_000


async def listen(store: Store, worker: str) -> bytes:
    """Hear the bell; b"" if it has not rung, or another worker has heard it."""
    read = await store.deliveries.read(store.link, worker, 1, None, bell=store.keys.bell)
    return read.bell


async def listeners(store: Store) -> list[str]:
    """The workers that are known to listen."""
    found = await store.call("XINFO", "CONSUMERS", store.keys.bell, GROUP)
    return [one[1].decode() for one in cast("list[list[bytes]]", found)]


async def leave(store: Store) -> None:
    """The worker goes."""
    await store.workers.deregister("w1")


async def die(store: Store) -> None:
    """The worker is found dead."""
    reaped = await store.workers.recover("w1", f"0 {LEASE_MS}", 3)
    assert reaped.finished == 1


@pytest.mark.parametrize("go", [leave, die])
@pytest.mark.parametrize("has_looked", [True, False])
async def test_worker_that_goes_is_no_listener_and_another_hears_what_it_has_heard(
    store: Store, go: Callable[[Store], Awaitable[None]], *, has_looked: bool
) -> None:
    """The name of a worker that is gone stays nowhere, and its wake is not lost with it."""
    store.queue.has_limits = True
    await store.queue.create_groups(store.link)
    await store.workers.join("w1", LEASE_MS)
    held = HeldJobs(store.queue)
    job = HeldSubmission("a", 2, WaiterMode.NOBODY, "default size c=size", "", ENVELOPE)
    await held.enqueue([job], "me", DEADLINE)
    heard = await listen(store, "w1")
    assert heard
    assert not await listen(store, "w2")
    if has_looked:
        await held.admit(store.link, "w1", 1, heard, ["slow"], [])
    await go(store)
    assert "w1" not in await listeners(store)
    assert bool(await listen(store, "w2")) is not has_looked
