"""Closing a queue leaves nothing open, however it ends."""

import asyncio

import anyio
import pytest
from redis.asyncio import Redis

from aiostreamq import BrokerError, Job, Queue, UsageError
from aiostreamq.client.core import core_of
from aiostreamq.client.results.inbox import Inbox
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until


async def same(n: int) -> int:
    """What the jobs do."""
    return n


def test_opening_failed() -> None:
    """`async with` leaves nothing open then: another event loop may try again."""
    queue = Queue("redis://localhost:1")

    async def enter() -> None:
        async with asyncio.timeout(0.1), queue:
            pytest.fail("there is no Redis")

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(enter())


async def test_opening_failed_elsewhere(redis_url: str) -> None:
    """Where the queue was open already, it stays so."""
    async with Queue(redis_url) as queue:
        session = core_of(queue).session()

        def enter_in_another_loop() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(queue.__aenter__())

        await asyncio.to_thread(enter_in_another_loop)
        assert core_of(queue).session() is session
        assert await queue.dead_letters.count() == 0


@pytest.mark.parametrize("canceller", ["asyncio", "anyio"])
@pytest.mark.parametrize("durability", ["memory", "replicated"])
async def test_cancelled_while_it_waits(
    own_redis_server: RedisServer, canceller: str, durability: str
) -> None:
    """The connections are closed all the same, and whoever still calls or awaits is told."""
    queue = Queue(own_redis_server.url)
    task = queue.task(same)
    awaiting = asyncio.ensure_future((await task.enqueue(0)).result())
    async with Redis.from_url(own_redis_server.url, decode_responses=True) as admin:

        async def names() -> set[str]:
            told = await admin.client_list()
            return {one["name"] for one in told if one["name"].startswith("aiostreamq")}

        async def has_inbox() -> bool:
            return "aiostreamq:inbox" in await names()

        async def is_gone() -> bool:
            return not await names()

        await wait_until(has_inbox, "the inbox to connect")
        own_redis_server.ask("CLIENT", "PAUSE", "20000", "WRITE")
        using = task.using(durability="replicated") if durability == "replicated" else task
        calling = asyncio.ensure_future(using.enqueue(1))
        done, _ = await asyncio.wait([calling], timeout=0.1)
        assert not done
        if canceller == "asyncio":
            closing = asyncio.ensure_future(queue.aclose())
            await asyncio.wait([closing], timeout=0.1)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
        else:
            with anyio.move_on_after(0.1) as scope:
                await queue.aclose()
            assert scope.cancelled_caught
        async with asyncio.timeout(PATIENCE):
            told = await asyncio.gather(calling, awaiting, return_exceptions=True)
        assert all(isinstance(one, BrokerError) and "closed" in str(one) for one in told)
        own_redis_server.ask("CLIENT", "UNPAUSE")
        await wait_until(is_gone, "the connections to be closed")


async def test_listening_fails(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    """Whoever awaits is told why, and who awaits next is heard again."""
    async with Queue(redis_url) as queue:
        job: Job[object] = await queue.enqueue("size")
        usual = Inbox._pop  # pyright: ignore[reportPrivateUsage]  # to put it back

        async def fail(*_: object) -> bytes:
            raise RuntimeError("unexpected")

        monkeypatch.setattr(Inbox, "_pop", fail)
        with pytest.raises(RuntimeError, match="unexpected"):
            await job.result(timeout=PATIENCE)
        monkeypatch.setattr(Inbox, "_pop", usual)
        awaiting = asyncio.ensure_future(job.result(timeout=PATIENCE))
        await asyncio.sleep(0)
        await (
            core_of(queue)
            .session()
            .store.call(
                "RPUSH",
                core_of(queue).session().store.keys.inbox(core_of(queue).session().waiter.inbox),
                f'{job.id} {{"state":"done","n":1,"value":7}}',
            )
        )
        assert await awaiting == 7
