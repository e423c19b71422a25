"""A worker can say what it is doing, without asking anybody."""

import asyncio

import pytest
from redis.asyncio import Redis

from aiostreamq import Queue, Worker, WorkerState
from aiostreamq.client.core import core_of
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: What CLIENT LIST calls the connection of the beat.
BEAT = "aiostreamq:beat"


async def test_through_its_life(queue: Queue) -> None:
    """It starts, is ready, drains while a job still runs, and has stopped."""
    gate, is_running = asyncio.Event(), asyncio.Event()

    @queue.task
    async def wait() -> None:
        is_running.set()
        await gate.wait()

    worker = Worker(queue)
    assert (worker.state, worker.is_ready) == (WorkerState.STARTING, False)
    async with worker:
        assert (worker.state, worker.is_ready) == (WorkerState.READY, True)
        await wait.enqueue()
        await is_running.wait()
        assert worker.is_ready, "to be busy is to be ready"
        worker.stop()
        assert (worker.state, worker.is_ready) == (WorkerState.DRAINING, False)
        gate.set()
    assert worker.state is WorkerState.STOPPED


async def test_stopped_before_it_began(queue: Queue) -> None:
    """It never says that it is ready."""
    worker = Worker(queue)
    worker.stop()
    assert worker.state is WorkerState.DRAINING
    await worker.run()
    assert worker.state is WorkerState.STOPPED


@pytest.mark.may_block("the test pauses a server")
async def test_redis_is_silent(own_redis_server: RedisServer) -> None:
    """After a lease without an answer it is cut off, and ready again with the next answer."""
    async with Queue(own_redis_server.url) as queue, Worker(queue, lease=3.0) as worker:
        own_redis_server.pause()
        try:
            assert worker.is_ready, "a lease has not passed yet"
            await wait_until(lambda: worker.state is WorkerState.CUT_OFF, "it to notice")
            assert not worker.is_ready
        finally:
            own_redis_server.resume()
        await wait_until(lambda: worker.is_ready, "it to be ready again")


@pytest.mark.may_block("the test kills a server")
async def test_redis_is_away(own_redis_server: RedisServer) -> None:
    """A connection that is refused is no answer either."""
    async with Queue(own_redis_server.url) as queue, Worker(queue, lease=1.0) as worker:
        own_redis_server.kill()
        await wait_until(lambda: worker.state is WorkerState.CUT_OFF, "it to notice")
        own_redis_server.start()
        await wait_until(lambda: worker.is_ready, "it to be ready again")


async def test_refused_for_a_while(own_redis_server: RedisServer) -> None:
    """A password that is not taken when the beat connects again does not end the beat."""
    server = own_redis_server
    async with (
        Redis.from_url(server.url) as admin,
        Queue(server.url) as queue,
        Worker(queue, lease=1.0) as worker,
    ):

        async def connections() -> list[str]:
            return [told["id"] for told in await admin.client_list() if told["name"] == BEAT]

        await wait_until(connections, "the first beat")
        await admin.config_set("requirepass", "other")
        for one in await connections():
            await admin.client_kill_filter(_id=one)
        await wait_until(lambda: worker.state is WorkerState.CUT_OFF, "it to notice")
        await admin.config_set("requirepass", "")
        await wait_until(lambda: worker.is_ready, "it to be ready again")


async def test_taken_for_dead(redis_url: str) -> None:
    """It begins anew under another name, and is ready as that."""
    async with Queue(redis_url) as queue, Worker(queue, lease=3.0) as worker:
        name = worker.name
        seen = {worker.state}
        await core_of(queue).session().store.call("HDEL", "aiostreamq:{default}:workers", name)

        def is_another() -> bool:
            seen.add(worker.state)
            return worker.name != name and worker.is_ready

        await wait_until(is_another, "it to begin anew")
        assert WorkerState.CUT_OFF not in seen
