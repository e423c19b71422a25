"""The tests' own servers and network do what their names say."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import redis
import redis.retry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.conftest import LeakCheck
from tests.support import processes
from tests.support.processes import Program
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, RedisServerError
from tests.support.waiting import wait_until
from tests.support.warm_start import can_fork


def client_of(url: str) -> Redis:
    """Make a client that never tries twice, and waits for ever."""
    return Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=None, decode_responses=True
    )


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """A proxy before the shared server, which is empty."""
    redis_server.flush()
    async with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Redis]:
    """A client that goes through the proxy."""
    async with client_of(proxy.url) as client:
        yield client


class TestRedisServer:
    """`RedisServer`."""

    def test_answers_as_soon_as_it_is_started(self) -> None:
        """A server is there at once, on TCP and on its unix socket."""
        with RedisServer() as server:
            assert server.ask("PING") == "PONG"
            with redis.Redis.from_url(server.unix_url) as client:
                assert client.ping()
        assert not server.is_alive

    def test_says_why_it_did_not_start(self) -> None:
        """A server that refuses its options fails with its own words."""
        server = RedisServer("--no-such-option")
        with pytest.raises(RedisServerError, match="no-such-option"):
            server.start()
        server.close()

    def test_server_without_persistence_restarts_empty(self, own_redis_server: RedisServer) -> None:
        """After a restart the same port answers, and nothing is left."""
        own_redis_server.ask("SET", "key", "1")
        own_redis_server.restart()
        assert own_redis_server.ask("DBSIZE") == "0"

    def test_keeps_its_appendonly_file(self) -> None:
        """What an appendonly server has confirmed survives a kill."""
        with RedisServer(appendonly=True) as server:
            server.ask("SET", "key", "1")
            server.kill()
            assert not server.is_alive
            server.start()
            assert server.ask("DBSIZE") == "1"

    def test_can_be_paused(self, own_redis_server: RedisServer) -> None:
        """A paused server is silent and forgets nothing; it can be ended, too."""
        once = redis.retry.Retry(NoBackoff(), 0)
        own_redis_server.ask("SET", "key", "1")
        own_redis_server.pause()
        with (
            redis.Redis(port=own_redis_server.port, socket_timeout=0.05, retry=once) as client,
            pytest.raises(redis.TimeoutError),
        ):
            client.get("key")
        own_redis_server.resume()
        assert own_redis_server.ask("DBSIZE") == "1"
        own_redis_server.pause()
        own_redis_server.stop()
        assert not own_redis_server.is_alive


class TestProxy:
    """`Proxy`."""

    async def test_forwards(self, client: Redis, proxy: Proxy) -> None:
        """Left alone it changes nothing, and it knows its connections."""
        big = "x" * 1_000_000
        assert await client.set("key", big)
        assert await client.get("key") == big
        assert proxy.open_connections == proxy.connections_made == 1
        await client.aclose()
        await wait_until(lambda: proxy.open_connections == 0, "the connection to end")

    async def test_cut(self, client: Redis, proxy: Proxy) -> None:
        """A cut ends a call that waits; the next call gets a new connection."""
        waiting = asyncio.ensure_future(client.blpop(["nothing"], timeout=0))
        await wait_until(lambda: proxy.open_connections == 1, "the call to wait")
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            await waiting
        assert await client.ping()

    async def test_refuse(self, client: Redis, proxy: Proxy) -> None:
        """Nobody new gets in until it accepts again."""
        await client.ping()
        proxy.refuse()
        await client.ping()
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            await client.ping()
        await proxy.accept()
        assert await client.ping()

    async def test_delay(self, client: Redis, proxy: Proxy) -> None:
        """Every chunk takes its time, there and back."""
        await client.ping()
        proxy.delay = 0.02
        started = time.monotonic()
        await client.ping()
        assert time.monotonic() - started >= 0.04

    async def test_swallow(self, redis_server: RedisServer, proxy: Proxy) -> None:
        """Half open: no answer, no error, and the server does not see the client leave."""
        async with client_of(proxy.url) as client:
            await client.client_setname("gone")
            proxy.swallow()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.set("key", "1")
            await client.aclose()
            async with client_of(redis_server.url) as other:
                assert await other.exists("key") == 0
                assert "gone" in [c["name"] for c in await other.client_list()]
                proxy.forward()
                assert await client.ping()

    async def test_drop_replies(self, client: Redis, proxy: Proxy) -> None:
        """The command runs, its reply is lost and the connection with it."""
        await client.ping()
        proxy.drop_replies(1, to=b"INCR")
        assert await client.ping()
        with pytest.raises(redis.ConnectionError):
            await client.incr("key")
        assert await client.get("key") == "1"
        assert proxy.replies_dropped == 1

        proxy.drop_replies(1)
        with pytest.raises(redis.ConnectionError):
            await client.incr("key")
        assert await client.get("key") == "2"

    async def test_cut_after(self, client: Redis, proxy: Proxy) -> None:
        """Part of a reply arrives, then the end."""
        await client.set("key", "x" * 100)
        proxy.cut_after(50)
        with pytest.raises(redis.ConnectionError):
            await client.get("key")
        assert await client.get("key") == "x" * 100

    async def test_server_down(self, own_redis_server: RedisServer) -> None:
        """Behind it a server may die and come back."""
        async with Proxy(own_redis_server.port) as proxy, client_of(proxy.url) as client:
            await client.ping()
            own_redis_server.kill()
            with pytest.raises(redis.ConnectionError):
                await client.ping()
            with pytest.raises(redis.ConnectionError):
                await client.ping()
            own_redis_server.start()
            assert await client.ping()


async def test_wait_until_says_what_for() -> None:
    """A condition that never comes true fails with its name; one that does, does not."""
    answers = iter([False, True])
    await wait_until(lambda: next(answers), "the second answer")

    async def never() -> bool:
        return False

    with pytest.raises(AssertionError, match="a miracle"):
        await wait_until(never, "a miracle", timeout=0.02)


async def test_leaks_are_found(redis_url: str, assert_no_leaks: LeakCheck) -> None:
    """A key without expiry is a leak, unless it is permanent by design."""
    async with client_of(redis_url) as client:
        await client.set("aiostreamq:{q}:result:1", "1", px=1_000)
        await client.xadd("aiostreamq:{q}:stream:default", {"job": "{}"})
        await assert_no_leaks(client)
        await client.set("aiostreamq:{q}:result:2", "1")
        with pytest.raises(AssertionError, match=r"result:2"):
            await assert_no_leaks(client)


def cannot_fork(_arguments: Sequence[str], _environment: Mapping[str, str]) -> bool:
    """Have each program executed."""
    return False


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("import os; print(os.getcwd(), os.environ['GIVEN'], sorted(os.environ))", 0),
        ("import sys; print(sys.stdin.read(), sys.argv[1:], sys.path[0], sys.stdout.encoding)", 0),
        ("import __main__; print(__main__.__name__, __main__.__spec__.name)", 0),
        ("import signal; print(*map(signal.getsignal, (2, 13, 15, 17)))", 0),
        ("import os; print(os.listdir('/proc/self/fd')[:3])", 0),
        ("import atexit; atexit.register(print, 'at exit')", 0),
        ("import threading; threading.Timer(0.1, print, ['in thread']).start()", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit('a message')", 1),
        ("int('x')", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
async def test_forked_program_does_what_an_executed_one_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, statement: str, code: int
) -> None:
    """It has the same surroundings, prints the same, and ends with the same exit code."""
    (tmp_path / "program.py").write_text(statement)
    printed: list[list[str]] = []
    for is_forked in (True, False):
        monkeypatch.setattr(processes, "can_fork", can_fork if is_forked else cannot_fork)
        program = Program(
            *("-m", "program", "argument"),
            send="sent",
            where=tmp_path,
            environment={**os.environ, "GIVEN": "by the test"},
        )
        async with program:
            assert await program.wait_end() == code, program.printed
        printed.append(program.lines)
    forked, executed = printed
    # A traceback begins in the module that was forked.
    assert forked[-2:] == executed[-2:]
