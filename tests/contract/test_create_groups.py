"""Opening a queue creates its streams and consumer groups."""

import asyncio

from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW, RETURNED
from tests.support.store import Store


async def test_streams_and_groups(store: Store) -> None:
    """Opening makes a stream and a group for each lane, and for what workers hand on."""
    lanes = ("default", "slow", RETURNED, *OVERFLOW.values(), ADMITTED)
    assert await store.key_names() == {f"stream:{lane}" for lane in lanes}
    for lane in lanes:
        assert await store.pending(lane) == 0


async def test_again(store: Store) -> None:
    """What is there is left as it is, with all that was delivered."""
    await store.enqueue("a", "b")
    await store.read(count=1)
    assert await store.queue.create_groups(store.link) == 0
    assert await store.pending() == 1
    assert [d.job_id for d in await store.read()] == ["b"]


async def test_one_is_missing(store: Store) -> None:
    """Only that one is made, and what came before it is read too."""
    await store.enqueue("a")
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)
    assert await store.queue.create_groups(store.link) == 1
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_two_at_once(store_url: str) -> None:
    """Two processes that start together do not disturb each other."""
    one, other = Store(store_url), Store(store_url)
    await asyncio.gather(one.queue.open(), other.queue.open())
    async with Store(store_url) as store:
        assert await store.enqueue("a") == set()
        assert len(await store.read()) == 1
    one.queue.close()
    other.queue.close()


async def test_opened_by_many_at_once(store_url: str) -> None:
    """Whoever comes first opens; all get the same answer."""
    async with Store(store_url) as store:
        found = await asyncio.gather(*(store.queue.open() for _ in range(20)))
        assert len(set(found)) == 1


async def test_two_queues(store_url: str) -> None:
    """Queues of different names know nothing of each other."""
    async with Store(store_url, "one") as one, Store(store_url, "other") as other:
        await one.enqueue("a")
        assert await other.read() == []
        assert await other.results.job_state("a") is None
        assert await other.enqueue("a") == set()
