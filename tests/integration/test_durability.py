"""Enqueues that wait for a replica, or for the disk."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from aiostreamq import (
    Debounce,
    EnqueueNotConfirmed,
    JobState,
    KeepLatest,
    Queue,
    QueueUnavailable,
    Unique,
    UnsupportedServer,
    UsageError,
    Worker,
)
from aiostreamq.model.options import Durability
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: Seconds after which a call that can not be confirmed gives up, in tests about that: enough to be
#: sent on any machine.
SHORT = 2.0

COUNT = 50


async def same(n: int) -> int:
    """What the jobs do."""
    return n


@pytest.fixture
def master() -> Iterator[RedisServer]:
    """A server that does not wait for more replicas before it feeds one."""
    with RedisServer("--repl-diskless-sync-delay", "0") as server:
        yield server


@pytest.fixture
def replica(master: RedisServer) -> Iterator[RedisServer]:
    """Its replica, up to date."""
    with RedisServer("--replicaof", "127.0.0.1", str(master.port)) as server:
        assert master.ask("WAIT", "1", "9000") == "1"
        yield server
        server.resume()


@pytest.fixture
async def queue(master: RedisServer) -> AsyncIterator[Queue]:
    """A queue whose enqueues wait for a replica."""
    async with Queue(master.url, durability="replicated") as queue:
        yield queue


async def ids_on(server: RedisServer) -> set[str]:
    """The ids of all jobs that a server has."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        keys = cast("list[str]", await client.keys("*:job:*"))
    return {key.rpartition(":")[2] for key in keys}


async def test_replica_has_it(queue: Queue, replica: RedisServer) -> None:
    """What was enqueued, in whatever way, is on the replica when the call returns."""
    task = queue.task(same)
    job = await task.enqueue(0)
    assert await ids_on(replica) == {job.id}
    later = await task.using(delay="1h").enqueue(1)
    assert later.id in await ids_on(replica)
    jobs = await queue.enqueue_many(
        [task.bind(2), task.using(delay="1h").bind(3), task.using(durability="memory").bind(4)]
    )
    assert {job.id for job in jobs[:2]} <= await ids_on(replica)
    async with Worker(queue):
        assert [await job, await jobs[0], await jobs[2]] == [0, 2, 4]


async def test_replica_has_unique_jobs(queue: Queue, replica: RedisServer) -> None:
    """The job of a key is on the replica, whether this call made it or an earlier one did."""
    task = queue.task(same).using(unique=Unique())
    first = await task.using(durability="memory").enqueue(0)
    held = await task.enqueue(0)
    assert held.id == first.id
    later = await task.using(delay="1h").enqueue(1)
    moved = await task.using(debounce=Debounce("1h")).enqueue(2)
    latest = task.using(keep_latest=KeepLatest())
    kept = [await latest.enqueue(5) for _ in range(3)]
    assert kept[1].id == kept[2].id
    many = await queue.enqueue_many([task.bind(3), task.bind(0)])
    assert {job.id for job in (held, later, moved, *kept, *many)} <= await ids_on(replica)


async def test_replica_is_promoted(master: RedisServer, replica: RedisServer) -> None:
    """Of what was acknowledged nothing is lost when the master is."""
    acknowledged: set[str] = set()
    async with Queue(master.url, durability="replicated", enqueue_timeout=SHORT) as queue:
        task = queue.task(same)

        async def enqueue_until_it_dies() -> None:
            while True:
                try:
                    acknowledged.add((await task.enqueue(1)).id)
                except QueueUnavailable:
                    if not master.is_alive:
                        return

        running = [asyncio.create_task(enqueue_until_it_dies()) for _ in range(20)]
        await wait_until(lambda: len(acknowledged) > COUNT, "some jobs")
        master.kill()
        replica.ask("REPLICAOF", "NO", "ONE")
        await asyncio.gather(*running)
    assert acknowledged <= await ids_on(replica)


@pytest.mark.parametrize("delay", [None, "1h"])
async def test_replica_is_behind(
    master: RedisServer, replica: RedisServer, delay: str | None
) -> None:
    """The call says that its job is in, but not confirmed; again with its id, it is one job."""
    replica.pause()
    ids = ["mine", None]
    async with Queue(master.url, durability="replicated", enqueue_timeout=SHORT) as queue:
        task = queue.task(same)
        for job_id in ids:
            with pytest.raises(
                EnqueueNotConfirmed, match=r"not confirmed by a replica.*same id"
            ) as told:
                await task.using(id=job_id, delay=delay).enqueue(1)
            assert len(told.value.job_ids) == 1
            ids[-1] = told.value.job_ids[0]
    both = {"mine", str(ids[-1])}
    assert await ids_on(master) == both
    async with Queue(master.url, durability="replicated") as queue:
        task = queue.task(same)
        replica.resume()
        for job_id in both:
            await task.using(id=job_id, delay=delay).enqueue(1)
    assert await ids_on(replica) == both
    # Nothing was new in these calls, so they wrote something for the wait to be about.
    assert 0 < int(replica.ask("PTTL", "aiostreamq:{default}:confirm")) <= 60_000


async def test_repeated_while_the_replica_is_behind(
    master: RedisServer, replica: RedisServer
) -> None:
    """A call over a new connection that finds its id taken is not confirmed for that."""
    replica.pause()
    for _ in range(2):
        async with Queue(master.url, durability="replicated", enqueue_timeout=SHORT) as queue:
            with pytest.raises(EnqueueNotConfirmed):
                await queue.task(same).using(id="mine").enqueue(1)
            with pytest.raises(EnqueueNotConfirmed) as told:
                await queue.enqueue_many([queue.tasks["same"].using(id="mine").bind(1)])
            assert told.value.job_ids == ("mine",)


async def test_reply_is_lost(master: RedisServer, replica: RedisServer) -> None:
    """The call is made again by itself, and makes one job."""
    async with Proxy(master.port) as proxy, Queue(proxy.url, durability="replicated") as queue:
        task = queue.task(same)
        await task.enqueue(0)
        proxy.drop_replies(to=b"WAIT")
        job = await task.using(result_ttl=0).enqueue(1)
        assert proxy.replies_dropped == 1
        assert job.id in await ids_on(replica)
    assert len(await ids_on(replica)) == 2


async def test_others_do_not_wait(master: RedisServer, replica: RedisServer) -> None:
    """While a call waits for the replica, calls that need none continue, and so does awaiting."""
    async with Queue(master.url) as queue, Worker(queue):
        task = queue.task(same)
        replica.pause()
        waiting = asyncio.ensure_future(task.using(durability="replicated").enqueue(1))
        assert await asyncio.gather(*[await task.enqueue(n) for n in range(COUNT)])
        assert not waiting.done()
        replica.resume()
        assert await (await waiting) == 1


async def test_master_is_replaced_meanwhile(
    queue: Queue, master: RedisServer, replica: RedisServer
) -> None:
    """A call that waits when its server becomes a replica begins again where it may write."""
    task = queue.task(same)
    await task.enqueue(0)
    replica.pause()
    waiting = asyncio.ensure_future(task.enqueue(1))

    async def has_both() -> bool:
        return len(await ids_on(master)) == 2

    await wait_until(has_both, "the job to be written")
    master.ask("REPLICAOF", "127.0.0.1", "1")
    master.ask("REPLICAOF", "NO", "ONE")
    replica.resume()
    job = await waiting
    assert job.id in await ids_on(replica)


async def can_wait_for_disk(server: RedisServer) -> bool:
    """Whether a server knows WAITAOF."""
    async with Redis.from_url(server.url) as client:
        try:
            await client.execute_command("WAITAOF", 0, 0, 1)
        except ResponseError:
            return False
    return True


async def test_disk(master: RedisServer) -> None:
    """What is on disk is acknowledged; a server that can not tell refuses, and what to do."""
    with RedisServer(appendonly=True) as server:
        if await can_wait_for_disk(server):
            async with Queue(server.url, durability="fsync") as queue:
                job = await queue.task(same).enqueue(1)
                [late] = await queue.enqueue_many([queue.tasks["same"].using(delay="1h").bind(1)])
                server.kill()
                server.start()
                assert await job.status() is JobState.QUEUED
                assert await late.status() is JobState.DELAYED
        else:
            queue = Queue(server.url, durability="fsync")
            with pytest.raises(UnsupportedServer, match=r"7\.2.*this is .*appendfsync always"):
                await queue.open()
            await queue.aclose()


async def test_no_disk(master: RedisServer) -> None:
    """Without an append-only file there is nothing to wait for: refused before anything is in."""
    reason = "appendonly yes"  # which the advice for an older server has in it too
    async with Queue(master.url) as queue:
        for _ in range(2):
            with pytest.raises(UnsupportedServer, match=reason):
                await queue.task(name="t")(same).using(durability="fsync").enqueue(1)
            del queue.tasks["t"]
    assert await ids_on(master) == set()


@pytest.mark.parametrize("durability", ["replicated", "fsync"])
async def test_in_memory(durability: Durability) -> None:
    """There is neither replica nor disk, and that is said."""
    with pytest.raises(UsageError, match="memory://"):
        await Queue("memory://", durability=durability).open()
    async with Queue("memory://", durability="memory") as queue:
        task = queue.task(same)
        await task.using(durability="memory").enqueue(1)
        with pytest.raises(UsageError, match="memory://"):
            await task.using(durability=durability).enqueue(1)
        with pytest.raises(UsageError, match="memory://"):
            await queue.enqueue_many([task.using(durability=durability).bind(1)])


async def test_disk_is_behind() -> None:
    """A call is not acknowledged before Redis says that what it wrote is on disk."""
    with RedisServer("--appendfsync", "no", appendonly=True) as server:
        error = EnqueueNotConfirmed if await can_wait_for_disk(server) else UnsupportedServer
        async with Queue(server.url, enqueue_timeout=SHORT) as queue:
            task = queue.task(same)
            for _ in range(2):
                with pytest.raises(error, match="disk"):
                    await task.using(durability="fsync", id="mine").enqueue(1)
            job = await task.using(id="mine").enqueue(1)
            assert await job.status() is JobState.QUEUED
