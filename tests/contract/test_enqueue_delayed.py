"""enqueue_delayed.lua: new jobs wait until they are due."""

from typing import cast

import pytest

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.results import Subscription
from tests.support.store import ENVELOPE, Store

LONG_AGO = "1000"


async def delay(store: Store, job_id: str, due: str, mark: str = WaiterMode.NOBODY) -> set[int]:
    """Keep one job for later."""
    return await store.delayed.delay([(job_id, DEFAULT_LANE, mark, due, ENVELOPE)], "me", 5)


async def words(store: Store) -> int:
    """How often messages were sent to the workers."""
    return cast("int", await store.call("XLEN", store.keys.control))


async def test_delayed_job_waits_until_it_is_due(store: Store) -> None:
    """Before its time nothing can be read, and the time until then is told."""
    await delay(store, "j", "+60000")
    moved, wait = await store.delayed.promote()
    assert moved == 0
    assert wait == pytest.approx(45, abs=15)
    assert await store.read() == []
    assert await store.results.job_state("j") == b"delayed"
    assert await store.results.subscribe("me", ["j"]) == [Subscription.WILL_TELL]


async def test_id_stays_taken_while_its_job_is_delayed(store: Store) -> None:
    """A delay that is repeated after a lost reply makes one job, and keeps its time."""
    assert await delay(store, "j", "+60000") == set()
    assert await delay(store, "j", LONG_AGO) == {0}
    assert await store.enqueue("j") == {0}
    assert (await store.delayed.promote())[0] == 0


async def test_only_an_earlier_job_wakes_workers(store: Store) -> None:
    """Only a job that is due before all others is worth a word."""
    await delay(store, "a", "+60000")
    await delay(store, "b", "+90000")
    assert await words(store) == 1
    await delay(store, "c", "+30000")
    assert await words(store) == 2
