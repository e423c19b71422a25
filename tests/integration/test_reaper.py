"""The jobs of dead workers, where something is wrong with one of those."""

import pytest

from aiostreamq import Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.workers import Recovered, WorkerRegistry
from tests.support.waiting import PATIENCE, wait_until

LEASE_MS = 1000


async def test_one_can_not_be_recovered(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are, in the same look; that one is told of once, and tried again."""
    tries: list[str] = []
    reap = WorkerRegistry.recover

    async def reap_unless_first(
        self: WorkerRegistry, name: str, beat: str, max_worker_deaths: int
    ) -> Recovered:
        tries.append(name)
        if name == "first" and tries.count("first") < 3:
            raise CommandError("ERR of a kind that is not known")
        return await reap(self, name, beat, max_worker_deaths)

    monkeypatch.setattr(WorkerRegistry, "recover", reap_unless_first)

    @queue.task
    async def same(n: int) -> int:
        return n

    broker = core_of(queue).session().store
    link = await broker.connector.open_link("test")
    jobs = [await same.enqueue(n) for n in range(2)]
    for name in ("first", "second"):
        await WorkerRegistry(broker).join(name, LEASE_MS)
        read = await Deliveries(broker).read(link, name, 1, None)
        assert len(read.deliveries) == 1
    link.close()
    async with Worker(queue, lease=LEASE_MS / 1000):
        assert await jobs[1].result(timeout=PATIENCE) == 1
        assert tries[:2] == ["first", "second"]
        assert await jobs[0].result(timeout=PATIENCE) == 0
        await wait_until(lambda: tries.count("first") == 3, "the last try")
    assert caplog.text.count("the jobs of dead worker first cannot be recovered") == 1
