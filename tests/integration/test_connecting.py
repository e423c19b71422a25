"""The ways to say where Redis is: URLs, the environment, a client, memory."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis.utils
import uvloop
from redis.asyncio import Redis

from aiostreamq import BrokerError, Queue, QueueUnavailable, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.connection import connector
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.store.connection.link import LinkLost
from aiostreamq.store.enqueue import Submissions
from aiostreamq.store.results import Results
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until


async def runs(queue: Queue) -> bool:
    """Say whether a job gets through."""

    @queue.task(name="probe")
    async def probe(n: int) -> int:
        return n + 1

    async with queue, Worker(queue):
        return await (await probe.enqueue(1)) == 2


async def test_url(redis_url: str) -> None:
    """`redis://` and a database number."""
    assert await runs(Queue(redis_url))
    assert await runs(Queue(redis_url.replace("/0", "/3")))


async def test_version_of_redis_py_is_read_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many connections there are: it stands in files, and the event loop would wait."""
    read: list[str] = []

    def get_lib_version() -> str:
        read.append("once more")
        return "1.2.3"

    connector.driver_options.cache_clear()
    monkeypatch.setattr(redis.utils, "get_lib_version", get_lib_version)
    try:
        assert await runs(Queue(redis_url))
    finally:
        connector.driver_options.cache_clear()
    assert len(read) <= 1


async def test_unix_socket(redis_url: str, redis_server: RedisServer) -> None:
    """`unix://`."""
    assert await runs(Queue(redis_server.unix_url))


@pytest.mark.parametrize("decode", [False, True])
async def test_ready_client(redis_url: str, decode: bool) -> None:
    """Its way of connecting is used; it stays the user's own, open and usable."""
    async with Redis.from_url(redis_url, decode_responses=decode) as client:
        assert await runs(Queue(client))
        assert await client.ping()


async def test_environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL the environment says where."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert await runs(Queue())
    monkeypatch.setenv("REDIS_URL", "redis://nowhere.invalid")
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    assert await runs(Queue())


async def test_memory() -> None:
    """`memory://` needs no server; without a name it is the queue's own."""
    assert await runs(Queue("memory://"))
    async with Queue("memory://") as one, Queue("memory://") as other:
        one_broker, other_broker = core_of(one).session().store, core_of(other).session().store
        await Submissions(one_broker).enqueue([("a", 2, "0", b"{}")], "me", 1)
        assert await Results(one_broker).job_state("a") == b"queued"
        assert await Results(other_broker).job_state("a") is None


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "redis://h:port"])
async def test_what_is_no_url(url: str) -> None:
    """It is refused with the forms there are."""
    with pytest.raises(UsageError, match="redis://host:6379/0"):
        await Queue(url).open()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_enqueue_gives_up_if_redis_is_unreachable(closed_port: int) -> None:
    """Enqueueing gives up after its deadline and says what was tried."""
    queue = Queue(f"redis://127.0.0.1:{closed_port}", enqueue_timeout=0.2)

    @queue.task
    async def nothing() -> None: ...

    with pytest.raises(QueueUnavailable, match="could not be reached"):
        await nothing.enqueue()
    await queue.aclose()


async def test_silent_server(
    own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers nothing costs no more than the deadline; a later try passes."""
    monkeypatch.setattr(connector, "REPLY_TIMEOUT", 3600)
    async with Queue(own_redis_server.url, enqueue_timeout=0.3) as queue:

        @queue.task
        async def nothing() -> None: ...

        async def passes() -> bool:
            with suppress(QueueUnavailable):
                await nothing.enqueue()
                return True
            return False

        await wait_until(passes, "the server to answer")
        own_redis_server.pause()
        async with asyncio.timeout(PATIENCE):
            assert not await passes()
        own_redis_server.resume()
        await wait_until(passes, "it to answer again")


async def test_wrong_password(redis_url: str) -> None:
    """It is said at once, and trying again is left to you."""
    async with Redis.from_url(redis_url) as client:
        await client.acl_setuser(
            "worker", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"]
        )
        try:
            told = redis_url.replace("redis://", "redis://worker:wrong@")
            with pytest.raises(
                BrokerError, match=r"refused the user name or password \(WRONGPASS "
            ):
                await Queue(told).open()
            assert await runs(Queue(told.replace("wrong", "right")))
        finally:
            await client.acl_deluser("worker")


async def test_no_password(own_redis_server: RedisServer) -> None:
    """It is said what Redis wants."""
    own_redis_server.ask("CONFIG", "SET", "requirepass", "secret")
    with pytest.raises(BrokerError, match=r"put it in the URL \(NOAUTH "):
        await Queue(own_redis_server.url).open()
    with_password = own_redis_server.url.replace("redis://", "redis://:secret@")
    assert await runs(Queue(with_password))


async def test_password_is_changed(own_redis_server: RedisServer) -> None:
    """Who awaits a job when the inbox has to connect anew is told, and waits for nothing."""
    async with (
        Redis.from_url(own_redis_server.url, decode_responses=True) as admin,
        Queue(own_redis_server.url) as queue,
    ):
        awaiting = asyncio.ensure_future((await queue.enqueue("size")).result())

        async def inboxes() -> list[str]:
            clients = await admin.client_list()
            return [one["id"] for one in clients if one["name"] == "aiostreamq:inbox"]

        await wait_until(inboxes, "the inbox to connect")
        await admin.config_set("requirepass", "other")
        for one in await inboxes():
            await admin.client_kill_filter(_id=one)
        with pytest.raises(BrokerError, match="put it in the URL"):
            await asyncio.wait_for(awaiting, PATIENCE)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_connection_breaks_at_once(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """Between two steps of connecting it may break: that is the loss of a link, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=reset_all, args=(server,), daemon=True).start()
        run(connect_in_a_busy_loop(f"redis://127.0.0.1:{server.getsockname()[1]}"))
        server.shutdown(socket.SHUT_RDWR)


def reset_all(server: socket.socket) -> None:
    """Reset each connection as soon as it is there."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


async def connect_in_a_busy_loop(url: str) -> None:
    """Connect where each turn of the loop takes long enough for the reset to come between."""
    loop, never = asyncio.get_running_loop(), threading.Event()

    def be_busy() -> None:
        never.wait(0.001)
        loop.call_soon(be_busy)

    be_busy()
    to_nobody = connector_for(url)
    for _ in range(60):
        with pytest.raises(LinkLost, match="cannot connect to Redis"):
            await to_nobody.open_link("test")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("user", ["", "unknown:wrong@"], ids=["connects", "is refused"])
def test_cancelled_at_any_step(
    redis_url: str, run: Callable[[Coroutine[Any, Any, None]], None], user: str
) -> None:
    """Opening ends as cancelled, or a service that is to end would connect again, for ever."""

    async def cancel_after(turns: int) -> bool:
        """Cancel an opening after some turns of the loop; say whether it had ended before."""
        opening = asyncio.ensure_future(connector_of_user.open_link("test"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if opening.done():
            if opening.exception() is None:
                opening.result().close()
            return True
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return False

    async def cancel_each_step() -> None:
        turns = 0
        while not await cancel_after(turns):
            turns += 1
        for _ in range(200):  # Redis answers some turns sooner or later each time
            await cancel_after(random.randrange(turns + 1))

    connector_of_user = connector_for(redis_url.replace("redis://", f"redis://{user}"))
    run(cancel_each_step())
