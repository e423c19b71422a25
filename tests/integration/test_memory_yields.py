"""Whatever is asked of memory://, other tasks get their turn, as they do with a server."""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.errors import AioStreamQError
from aiostreamq.store.connection.in_memory import MemoryLink, MemoryServer
from aiostreamq.store.connection.link import Argument, CommandError, LinkLost, Reply
from tests.support.waiting import PATIENCE

queue = Queue("memory://yields")


@queue.task
async def same(n: int) -> int:
    """Give back what came."""
    return n


async def same_again(n: int) -> int:
    """Do the same, as a task of other queues."""
    return n


async def read_jobs() -> int:
    """Read all jobs there are."""
    return len([job async for job in queue.jobs()])


#: Each is asked again and again, as a program does that waits for something.
CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "status": lambda: queue.job("known").status(),
    "status of none": lambda: queue.job("unknown").status(),
    "info": lambda: queue.job("known").info(),
    "queue.info": queue.info,
    "workers": queue.workers,
    "jobs": read_jobs,
    "enqueue": lambda: same.enqueue(1),
    "enqueue the same": lambda: same.using(id="known").enqueue(1),
    "enqueue for later": lambda: same.using(delay=60).enqueue(1),
    "enqueue many": lambda: queue.enqueue_many([same.bind(1)]),
    "dead letters": queue.dead_letters.count,
    "cancel": lambda: queue.job("unknown").cancel(),
    "pause": lambda: queue.pause(task="other"),
    "paused": queue.paused,
    "schedules": queue.schedules.list,
    "an error": lambda: core_of(queue).session().store.call("INCRBY", "aiostreamq:text", "x"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_others_get_their_turn(call: str) -> None:
    """For each call there is a turn at least."""
    async with queue:
        await core_of(queue).session().store.call("SET", "aiostreamq:text", "no number")
        with suppress(AioStreamQError):
            await same.using(id="known").enqueue(1)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for _ in range(20):
            with suppress(AioStreamQError):
                await CALLS[call]()
        counting.cancel()
        assert turns >= 20


async def test_timeout_of_a_loop() -> None:
    """One that asks until something is so can be stopped by a timeout."""
    async with queue:
        job = await same.enqueue(1)

        async def ask_on() -> None:
            while await job.status() != "done":
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask_on(), 0.01)


async def test_change_right_after_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait ends if another thread sends something between an empty read and the wait."""
    server = MemoryServer()
    link = MemoryLink(server)
    execute = server.execute

    def execute_and_be_overtaken(*command: Argument) -> Reply:
        reply = execute(*command)
        if command[0] == "LPOP" and reply is None:
            server.execute_and_wake("RPUSH", "list", "news")
        return reply

    monkeypatch.setattr(server, "execute", execute_and_be_overtaken)
    async with asyncio.timeout(PATIENCE):
        assert await link.call("BLPOP", "list", int(10 * PATIENCE)) == [b"list", b"news"]


#: Commands that end a wait for the list "list"; there is another list "other".
FILLS: dict[str, tuple[Argument, ...]] = {
    "push": ("RPUSH", "list", "x"),
    "push before": ("LPUSH", "list", "x"),
    "rename": ("RENAME", "other", "list"),
    "copy": ("COPY", "other", "list"),
    "move": ("LMOVE", "other", "list", "LEFT", "LEFT"),
    "script": ("EVAL", "return redis.call('RPUSH', KEYS[1], 'x')", 1, "list"),
    "script that fails": ("EVAL", "redis.call('RPUSH', KEYS[1], 'x') error('no')", 1, "list"),
}


@pytest.mark.parametrize("fill", FILLS)
async def test_fill_ends_wait(fill: str) -> None:
    """A read that waits for a list gets an item, no matter which command brought it."""
    server = MemoryServer()
    reader, writer = MemoryLink(server), MemoryLink(server)
    await writer.call("RPUSH", "other", "x")
    async with asyncio.timeout(PATIENCE):
        reading = reader.call("BLPOP", "list", int(10 * PATIENCE))
        await writer.call("EXISTS", "list")  # by now it waits
        with suppress(CommandError):
            await writer.call(*FILLS[fill])
        assert await reading == [b"list", b"x"]


#: A read, and a command that does not end its wait.
WAITS: list[tuple[tuple[Argument, ...], tuple[Argument, ...]]] = [
    (("BLPOP", "list", 0), ("EXISTS", "list")),
    (("BLPOP", "list", 0), ("LRANGE", "list", 0, -1)),
    (("BLPOP", "list", 0), ("RPUSH", "other", "x")),
    (("BLPOP", "list", 0), ("SET", "STREAMS", "x")),
    (("XREAD", "BLOCK", 0, "STREAMS", "s", "t", "$", "$"), ("XADD", "$", "*", "f", "v")),
    (("XREAD", "BLOCK", 0, "STREAMS", "s", "t", "$", "$"), ("XLEN", "s")),
]


@pytest.mark.parametrize(("read", "command"), WAITS)
async def test_no_read_without_news(
    monkeypatch: pytest.MonkeyPatch, read: tuple[Argument, ...], command: tuple[Argument, ...]
) -> None:
    """A read that waits does not read again for what does not concern it."""
    server = MemoryServer()
    reader, writer = MemoryLink(server), MemoryLink(server)
    reads: list[tuple[Argument, ...]] = []
    execute = server.execute

    def count(*command: Argument) -> Reply:
        reads.append(command)
        return execute(*command)

    monkeypatch.setattr(server, "execute", count)
    waiting = reader.call(*(int(10 * PATIENCE) if part == 0 else part for part in read))
    for _ in range(3):
        await writer.call(*command)
    assert len(reads) == 1
    assert not waiting.done()
    reader.close()
    with pytest.raises(LinkLost):
        await waiting


@pytest.fixture
def left_loop() -> Iterator[None]:
    """End what a loop has left behind in this test, lest it ends in another one."""
    yield
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        gc.collect()


@pytest.mark.usefixtures("left_loop")
async def test_two_loops_share_a_server() -> None:
    """Queues of two threads use one memory://; what one sends wakes the worker of the other."""
    far = Queue("memory://yields-shared")
    near = Queue("memory://yields-shared")
    task = near.task(same_again)

    async def send(n: int) -> object:
        async with far:
            return await (await far.enqueue("same_again", n)).result(timeout=30)

    async with near, Worker(near):
        assert await asyncio.to_thread(lambda: asyncio.run(send(3))) == 3
        assert await (await task.enqueue(4)) == 4
        with pytest.raises(UsageError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(near.info()))
        # A loop that has ended with a read on its way is not woken any more.
        loop = asyncio.new_event_loop()

        def leave() -> None:
            loop.run_until_complete(begin())
            loop.close()

        async def begin() -> None:
            job = await far.enqueue("same_again", 5)
            waiting = asyncio.ensure_future(job.result())
            await asyncio.wait([waiting], timeout=0.01)

        await asyncio.to_thread(leave)
        assert await (await task.enqueue(6)) == 6
