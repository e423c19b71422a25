"""Redis has sent a job to a worker that never got it: the worker finds it by itself.

How it comes about: a connection dies and only Redis takes it for alive, with a read of the worker
still waiting on it. Here another connection reads under the worker's name, which to Redis is the
same.
"""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis

from aiostreamq import Context, Job, Queue, Worker
from aiostreamq.client.core import core_of
from aiostreamq.model.delivery import EntryRef
from aiostreamq.model.keys import GROUP
from aiostreamq.store.connection.link import Link
from aiostreamq.store.deliveries import Deliveries
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

LEASE = 1.0
STREAM = "aiostreamq:{default}:stream:default"


async def lose(queue: Queue, worker: Worker, task: str) -> Job[object]:
    """Enqueue a job and have it sent to nowhere, under the name of a worker that is not reading."""
    job = await queue.enqueue(task)
    broker = core_of(queue).session().store
    command = ("XREADGROUP", "GROUP", GROUP, worker.name, "COUNT", 1, "STREAMS", STREAM, ">")
    assert await broker.call(*command)
    return job


async def test_found_within_a_lease(queue: Queue) -> None:
    """It runs, once, and so does what comes in the ordinary way."""
    ran: Counter[str] = Counter()

    @queue.task
    async def note(context: Context) -> str:
        ran[context.job_id] += 1
        return context.worker

    worker = Worker(queue, lease=LEASE)
    lost = [await lose(queue, worker, "note") for _ in range(3)]
    async with worker:
        sound = await note.enqueue()
        assert await sound == worker.name
        for job in lost:
            assert await job.result(timeout=PATIENCE) == worker.name
    assert ran == Counter(job.id for job in (*lost, sound))


async def test_all_slots_are_taken(queue: Queue) -> None:
    """It is handed back for a worker that has a slot, and does not wait for one here."""
    gate = asyncio.Event()

    @queue.task
    async def hold() -> None:
        await gate.wait()

    @queue.task
    async def who(context: Context) -> str:
        return context.worker

    async with Worker(queue, lease=LEASE, concurrency=1) as full:
        held = await hold.enqueue()
        await wait_until(lambda: is_running(held), "the only slot to be taken")
        lost = await lose(queue, full, "who")
        async with Worker(queue, lease=LEASE) as other:
            assert await lost.result(timeout=PATIENCE) == other.name
        gate.set()
        await held


async def is_running(job: Job[None]) -> bool:
    """Say whether a worker has it."""
    return await job.status() == "running"


async def test_another_job_is_settled_meanwhile(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends while Redis's answer is on its way is in that answer, and does not run again."""
    ran: Counter[str] = Counter()
    gate = asyncio.Event()
    pending_own = Deliveries.pending_own
    brought: list[set[EntryRef]] = []

    async def answer_late(
        self: Deliveries, link: Link, consumer: str, count: int
    ) -> "set[EntryRef]":
        pending = await pending_own(self, link, consumer, count)
        brought.append(pending)
        if len(brought) == 1:
            return pending  # the look, which is followed by the read
        gate.set()
        assert await running == "held"
        await link.call("PING")  # answered after the settling was, so the worker knows by now
        return pending

    async with Queue(redis_url) as queue:

        @queue.task
        async def note() -> str:
            ran["note"] += 1
            return "note"

        @queue.task
        async def hold() -> str:
            ran["hold"] += 1
            await gate.wait()
            return "held"

        worker = Worker(queue, lease=LEASE)
        lost = await lose(queue, worker, "note")
        running = await hold.enqueue()
        async with worker:
            monkeypatch.setattr(Deliveries, "pending_own", answer_late)
            assert await lost.result(timeout=PATIENCE) == "note"
            monkeypatch.undo()
    assert [len(pending) for pending in brought] == [2, 2]
    assert ran == Counter(["note", "hold"])


async def test_entry_of_a_running_job_is_deleted(redis_url: str, client: Redis) -> None:
    """Somebody has trimmed the stream: what runs gets to its end, and its result is kept."""
    gate, has_begun = asyncio.Event(), asyncio.Event()
    async with Queue(redis_url) as queue:

        @queue.task
        async def note() -> None: ...

        @queue.task
        async def hold() -> str:
            has_begun.set()
            await gate.wait()
            return "held"

        worker = Worker(queue, lease=LEASE)
        lost = await lose(queue, worker, "note")
        running = await hold.enqueue()
        async with worker:
            await has_begun.wait()
            entry = await client.hget(f"aiostreamq:{{default}}:job:{running.id}", "e")
            assert entry is not None
            assert await client.xdel(STREAM, entry) == 1
            await lost.result(timeout=PATIENCE)
            gate.set()
            assert await running.result(timeout=PATIENCE) == "held"


async def test_job_whose_end_is_refused(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not taken up anew once a lease while Redis refuses: its end is known, and kept."""
    ran: Counter[str] = Counter()
    gate, has_begun = asyncio.Event(), asyncio.Event()
    async with Queue(own_redis_server.url) as queue:

        @queue.task
        async def hold() -> str:
            ran["hold"] += 1
            has_begun.set()
            await gate.wait()
            return "held"

        async with Worker(queue, lease=LEASE):
            job = await hold.enqueue()
            await has_begun.wait()
            own_redis_server.ask("ACL", "SETUSER", "default", "-xack")
            gate.set()
            # The second comes after a lease at the least.
            tries = "still refused"
            await wait_until(lambda: caplog.text.count(tries) >= 2, "tries")
            own_redis_server.ask("ACL", "SETUSER", "default", "+xack")
            assert await job.result(timeout=PATIENCE) == "held"
            assert ran["hold"] == 1
