"""note_suspect_run.lua: a job that was with dead workers is about to run."""

from aiostreamq.model.delivery import Settlement
from tests.support.store import Store

LEASE_MS = 1_000


async def test_mark_of_an_earlier_delivery_does_not_count(store: Store) -> None:
    """Only what was run when its worker died counts, not what another had run before."""
    await store.enqueue("j")
    for worker in "ab":
        await store.workers.join(worker, LEASE_MS)
        [delivery] = await store.read(worker)
        assert await store.workers.note_suspect_run(delivery)
        await store.workers.recover(worker, "0 1000", 3)
    for worker in "cd":
        await store.workers.join(worker, LEASE_MS)
        [delivery] = await store.read(worker)
        assert (await store.workers.recover(worker, "0 1000", 3)).given_up == 0
        assert delivery.deaths == 2


async def test_job_that_is_gone_is_not_marked(store: Store) -> None:
    """Marking late leaves nothing behind."""
    await store.enqueue("j")
    [delivery] = await store.read("a")
    await store.deliveries.settle([Settlement(delivery, 60_000, b'{"state":"done","n":1}')], "a")
    assert not await store.workers.note_suspect_run(delivery)
    assert not await store.call("EXISTS", store.keys.job("j"))
