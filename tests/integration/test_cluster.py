"""A queue on a cluster, whose slot is moved from node to node."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import cast

import pytest

from aiostreamq import Job, JobCancelled, Queue, QueueUnavailable, Worker
from tests.support.cluster import Cluster, ClusterNode
from tests.support.waiting import PATIENCE, wait_until

MOVES = 3

#: How many jobs end between two moves, and how many commands are refused at each stage of one.
SOME = 20
MANY_REFUSALS = 5


def refusals_of(node: ClusterNode) -> int:
    """How many commands a node has answered with an error."""
    told = cast("dict[str, dict[str, int]]", node.say("INFO", "errorstats"))
    return sum(one["count"] for name, one in told.items() if name.startswith("errorstat_"))


async def be_met(cluster: Cluster) -> None:
    """Wait until clients have met the cluster as it stands, and have been refused."""
    before = sum(map(refusals_of, cluster.nodes))
    await wait_until(
        lambda: sum(map(refusals_of, cluster.nodes)) >= before + MANY_REFUSALS,
        "clients to be refused",
    )


async def move_slowly(cluster: Cluster, queue: str) -> None:
    """Move a queue so slowly that clients meet each stage of it."""
    cluster.begin_move(queue)
    await be_met(cluster)
    cluster.move_keys(queue, cluster.owner_of(queue).keys_of(queue)[::2])
    await be_met(cluster)
    cluster.move_keys(queue)
    await be_met(cluster)
    cluster.finish_move(queue)


class Load:
    """Jobs that are enqueued, awaited and cancelled, one after the other."""

    def __init__(self, queue: Queue) -> None:
        self.runs = Counter[int]()
        self.awaited: list[asyncio.Task[int]] = []
        self.cancelled: list[Job[None]] = []
        self.ended = 0
        self.is_over = False

        @queue.task
        async def same(n: int) -> int:
            self.runs[n] += 1
            return n

        @queue.task
        async def endless() -> None:
            await asyncio.Event().wait()

        self._same, self._endless = same, endless

    async def run(self) -> None:
        """Enqueue until it is over."""
        for n in count():
            job = await self._same.enqueue(n)
            self.awaited.append(asyncio.create_task(self._await(job)))
            # Each runs beside others for a while before it is cancelled.
            if n % 5 == 0:
                self.cancelled.append(await self._endless.enqueue())
            if n % 5 == 2:
                await self.cancelled[-1].cancel()
                if self.is_over:
                    return

    async def _await(self, job: Job[int]) -> int:
        result = await job
        self.ended += 1
        return result


@pytest.mark.parametrize("lanes", [["default"], {"default": 2, "slow": 1}], ids=["one", "two"])
async def test_nothing_is_lost(cluster: Cluster, lanes: list[str] | dict[str, int]) -> None:
    """While the slot goes to and fro, each job runs once, and whoever awaits it is told its end."""
    name = f"lanes{len(lanes)}"
    url = cluster.owner_of(name).url
    async with Queue(url, name=name, lanes=lanes, enqueue_timeout=PATIENCE) as queue:
        load = Load(queue)
        async with Worker(queue, concurrency=8), asyncio.timeout(5 * PATIENCE):
            running = asyncio.create_task(load.run())
            for _ in range(MOVES):
                goal = load.ended + SOME
                await wait_until(lambda goal=goal: load.ended >= goal, "jobs to end")
                await move_slowly(cluster, name)
            load.is_over = True
            await running
            results = await asyncio.gather(*load.awaited)
            for job in load.cancelled:
                with pytest.raises(JobCancelled):
                    await job
        assert results == list(range(len(results)))
        assert load.runs == Counter(results)
        info = await queue.info()
        assert [(lane.waiting, lane.running) for lane in info.lanes] == [(0, 0)] * len(info.lanes)


async def test_read_while_it_moves(cluster: Cluster) -> None:
    """A read may pass while the question for what is cancelled is refused: no job gets lost."""
    name = "read"
    async with Queue(cluster.owner_of(name).url, name=name) as queue:
        gate = asyncio.Event()
        runs = Counter[int]()

        @queue.task
        async def wait_for_gate() -> None:
            await gate.wait()

        @queue.task
        async def same(n: int) -> int:
            runs[n] += 1
            return n

        async with Worker(queue, concurrency=4), asyncio.timeout(PATIENCE):
            first = await queue.enqueue_many(wait_for_gate.bind() for _ in range(4))
            jobs = await queue.enqueue_many(same.bind(n) for n in range(40))
            cluster.begin_move(name)
            gate.set()
            await be_met(cluster)
            await be_met(cluster)
            cluster.move_keys(name)
            cluster.finish_move(name)
            assert await asyncio.gather(*first) == [None] * 4
            assert await asyncio.gather(*jobs) == list(range(40))
        assert runs == Counter(range(40))


async def test_any_node_will_do(cluster: Cluster) -> None:
    """The URL may be that of a node that has never had the queue."""
    name = "elsewhere"
    url = cluster.other_than_owner_of(name).url
    async with Queue(url, name=name) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert await (await same.enqueue(1)) == 1
    assert cluster.owner_of(name).keys_of(name)


async def test_slot_stays_open(cluster: Cluster) -> None:
    """As long as a move is not finished, an enqueue is refused, with the reason."""
    name = "open"
    async with Queue(cluster.owner_of(name).url, name=name, enqueue_timeout=0.3) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        await same.enqueue(1)
        cluster.begin_move(name)
        with pytest.raises(QueueUnavailable, match="cluster is moving this queue to another node"):
            await same.enqueue(2)
        cluster.move_keys(name)
        with pytest.raises(QueueUnavailable, match="cluster is moving this queue to another node"):
            await same.enqueue(3)
        cluster.finish_move(name)
        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert await (await same.enqueue(4)) == 4
        info = await queue.info()
    assert sum(sum(task.ended.values()) for task in info.tasks) == 2


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster for this test alone."""
    with Cluster() as cluster:
        yield cluster


async def test_node_is_away(own_cluster: Cluster) -> None:
    """If the node that has the queue can not be reached, that is said, and it is tried again."""
    name = "away"
    node = own_cluster.owner_of(name)
    url = own_cluster.other_than_owner_of(name).url
    async with Queue(url, name=name, enqueue_timeout=0.5) as queue:

        @queue.task
        async def same(n: int) -> int:
            return n

        await same.enqueue(1)
        node.kill()
        told = f"cannot connect to 127.0.0.1:{node.port}, where the cluster has this queue"
        with pytest.raises(QueueUnavailable, match=f"{told}|cluster has this queue on another"):
            await same.enqueue(2)
        node.start()
        async with Worker(queue), asyncio.timeout(PATIENCE):

            async def is_back() -> bool:
                try:
                    return await (await same.enqueue(3)) == 3
                except QueueUnavailable:
                    return False

            await wait_until(is_back, "the node to be back")
