"""Reading delivers each job to one worker, and waits if there is none."""

import asyncio

from tests.support.store import Store
from tests.support.waiting import PATIENCE


async def test_each_is_delivered_once(store: Store) -> None:
    """Two workers never get the same job."""
    await store.enqueue(*(f"j{number}" for number in range(20)))
    one, other = await store.read("w1", 7), await store.read("w2", 100)
    assert len(one) == 7
    assert len({d.job_id for d in one + other}) == 20


async def test_returned_work_comes_first(store: Store) -> None:
    """What was handed back is ahead of what is new."""
    await store.deliveries.requeue([await store.deliver("old")])
    await store.enqueue("new")
    assert [d.job_id for d in await store.read("w2")] == ["old", "new"]


async def test_nothing_there(store: Store) -> None:
    """Without waiting the answer is nothing."""
    assert await store.read() == []


async def test_waiting_for_work(store: Store) -> None:
    """A blocked read returns as soon as a job comes."""
    link = await store.connector.open_link("reader")
    reading = asyncio.ensure_future(store.deliveries.read(link, "w1", 10, 3_600_000))
    await asyncio.sleep(0)
    await store.enqueue("a")
    async with asyncio.timeout(PATIENCE):
        assert [d.job_id for d in (await reading).deliveries] == ["a"]
    link.close()


async def test_unblocked(store: Store) -> None:
    """A blocked read that is ended from outside answers with nothing, and the link lives on."""
    link = await store.connector.open_link("reader")
    number = await link.call("CLIENT", "ID")
    assert isinstance(number, int)
    reading = asyncio.ensure_future(store.deliveries.read(link, "w1", 10, 3_600_000))
    async with asyncio.timeout(PATIENCE):
        while not reading.done():
            await store.queue.unblock(number)
            await asyncio.sleep(0)
    assert (await reading).deliveries == []
    await store.enqueue("a")
    assert len((await store.deliveries.read(link, "w1", 10, None)).deliveries) == 1
    link.close()


async def test_what_never_arrived(store: Store) -> None:
    """A worker can read again what it was sent, oldest first, until it has ended it."""
    await store.enqueue("a", "b", "c")
    first = await store.read("w1")
    own = await store.deliveries.read_own(store.link, "w1", 10)
    assert own.deliveries == first
    await store.settle(first[0])
    assert await store.deliveries.read_all_own("w1") == first[1:]
    assert await store.deliveries.read_all_own("w2") == []
