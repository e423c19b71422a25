"""Servers that are set up in ways that cost jobs: whoever starts a worker on them is told."""

import re

import pytest

from aiostreamq import Queue, Worker, clock
from aiostreamq.store.connection.server import Server
from aiostreamq.store.inspect.server_check import Condition, advice_on, examine
from tests.support.redis_server import RedisServer
from tests.support.store import Store

SAVES = ("--save", "3600", "1")

pytestmark = pytest.mark.may_block("the tests start servers")


async def condition_of(server: RedisServer) -> Condition:
    """Look a server over."""
    async with Store(server.url) as store:
        return await examine(store.queue, await store.queue.open())


def old_or_not(condition: Condition) -> list[str]:
    """Return the advice on a server, but for its version: tests run on old ones too."""
    return [line for line in advice_on(condition) if "script flags" not in line]


async def test_nothing_kept() -> None:
    """Neither file nor save points: a restart loses all."""
    with RedisServer() as server:
        condition = await condition_of(server)
    assert (condition.appends, condition.snapshots) == (False, False)
    (line,) = old_or_not(condition)
    assert "keeps nothing on disk" in line


@pytest.mark.parametrize(
    ("extra", "appendonly"), [(SAVES, False), ((), True), (SAVES, True)], ids=["rdb", "aof", "both"]
)
async def test_kept(extra: tuple[str, ...], appendonly: bool) -> None:
    """With either there is nothing to say."""
    with RedisServer(*extra, appendonly=appendonly) as server:
        condition = await condition_of(server)
    assert (condition.appends, condition.snapshots) == (appendonly, bool(extra))
    assert condition.eviction == "noeviction"
    assert condition.server is not None
    assert abs(condition.ahead) <= 0.5 + condition.doubt
    assert old_or_not(condition) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_eviction(policy: str) -> None:
    """The policy is found without CONFIG, which many hosts forbid."""
    with RedisServer(*SAVES, "--maxmemory-policy", policy) as server:
        server.ask("ACL", "SETUSER", "default", "-config")
        (line,) = old_or_not(await condition_of(server))
    assert f"maxmemory-policy {policy}" in line


async def test_config_is_forbidden() -> None:
    """Save points that nobody can see are not called missing."""
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "default", "-config")
        condition = await condition_of(server)
    assert (condition.appends, condition.snapshots) == (False, None)
    assert old_or_not(condition) == []


async def test_everything_is_forbidden() -> None:
    """A server that tells nothing is not complained of, and its version not guessed at."""
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        server.ask("ACL", "SETUSER", "default", "-config", "-info")
        condition = await condition_of(server)
        assert condition.server is None
        assert advice_on(condition) == []
        async with Queue(server.url) as queue, Worker(queue) as worker:
            assert worker.is_ready


async def test_worker_warns(caplog: pytest.LogCaptureFixture) -> None:
    """An embedded worker says it too, in a line for each, when it starts and not again."""
    caplog.set_level("WARNING")
    with RedisServer("--maxmemory-policy", "allkeys-lfu") as server:
        async with Queue(server.url) as queue:
            assert not caplog.records, "a producer has nothing to do with it"
            async with Worker(queue, lease=1.0):
                told = [record.getMessage() for record in caplog.records]
    assert sum("throw jobs away (maxmemory-policy allkeys-lfu)" in line for line in told) == 1
    assert sum("keeps nothing on disk" in line for line in told) == 1
    assert all(record.name == "aiostreamq.worker" for record in caplog.records)


async def test_clocks_are_apart(
    redis_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says by how much, and who is ahead."""
    caplog.set_level("WARNING")
    right = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: right() + 30)
    async with Queue(redis_url) as queue, Worker(queue):
        pass
    monkeypatch.undo()
    told = r"this machine's clock is (.*) s ahead of that of Redis"
    apart = re.search(told, caplog.text)
    assert apart, caplog.text
    assert float(apart[1]) == pytest.approx(30, abs=5)


async def test_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Who runs in memory knows what becomes of it, and is not told."""
    caplog.set_level("DEBUG", logger="aiostreamq")
    async with Queue("memory://") as queue, Worker(queue):
        pass
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


async def test_old_server(redis_url: str) -> None:
    """The version that was found when the queue was opened is what is judged."""
    async with Store(redis_url) as store:
        condition = await examine(store.queue, Server((6, 2, 14), "Redis 6.2.14"))
    assert any(line.startswith("Redis 6.2.14 has no script flags") for line in advice_on(condition))
