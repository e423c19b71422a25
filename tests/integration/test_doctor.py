"""A doctor who may not look at everything says so, and calls nothing well."""

import asyncio

import pytest
from redis.asyncio import Redis

from aiostreamq import BrokerError, Queue, QueueUnavailable
from aiostreamq.client.doctor import Finding, diagnose
from tests.support.processes import Program
from tests.support.redis_rights import commands_of, take_away
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE

PREFIX = "aiostreamq:{sick}:"

#: What is wrong with the queue of these tests, if nothing hides it.
SICK = {
    *("eviction", "persistence", "groups", "work", "parked", "schedules", "lanes", "keys"),
}

#: What the doctor asks for beside the rule for readers.
ASKED = sorted({*commands_of("reader"), "config|get", "config", "hlen", "exists"})


@pytest.fixture
async def server(own_redis_server: RedisServer) -> RedisServer:
    """A server with a queue of which everything is wrong."""
    url = own_redis_server.url
    async with Queue(url, name="sick") as queue, Redis.from_url(url) as admin:
        for number in range(4):
            await queue.named("add").using(id=f"j{number}").enqueue(number)
        stream = f"{PREFIX}stream:default"
        await admin.xreadgroup("aiostreamq", "gone", {stream: ">"}, count=1)
        entry = await admin.hget(f"{PREFIX}job:j2", "e")
        assert isinstance(entry, bytes)
        await admin.xdel(stream, entry)
        await admin.xadd(f"{PREFIX}stream:old", {"id": "a"})
        await admin.xadd(f"{PREFIX}parked:lost", {"id": "b"})
        await admin.sadd(f"{PREFIX}parked", "lost")
        await admin.hset(f"{PREFIX}schedules", "odd", "?")
        await admin.set(f"{PREFIX}result:odd", "{}")
        await admin.config_set("maxmemory-policy", "allkeys-lru")
    return own_redis_server


def refuse(server: RedisServer, *commands: str) -> str:
    """Make a user who may do all but this; return its address."""
    server.ask("ACL", "SETUSER", "doctor", "reset", "on", ">pw", "allkeys", "+@all")
    for command in commands:
        take_away(server, "doctor", command)
    return server.url.replace("redis://", "redis://doctor:pw@")


async def found_at(url: str) -> dict[str, Finding]:
    """Return the findings by subject."""
    async with asyncio.timeout(PATIENCE), Queue(url, name="sick") as queue:
        return {one.subject: one for one in await diagnose(queue)}


async def test_all_is_seen(server: RedisServer) -> None:
    """Who may look at everything finds all that is wrong."""
    found = await found_at(refuse(server))
    assert {subject for subject, one in found.items() if one.level == "ok"} & SICK == set()
    assert not [one for one in found.values() if one.level == "unknown"]


@pytest.mark.parametrize("command", ASKED)
async def test_a_command_is_refused(server: RedisServer, command: str) -> None:
    """Nothing that is wrong is called well; what was not seen is unknown, with what to grant."""
    url = refuse(server, command)
    (found,) = await asyncio.gather(found_at(url), return_exceptions=True)
    if not isinstance(found, dict):  # the queue cannot even be opened
        assert isinstance(found, BrokerError)
        assert not isinstance(found, QueueUnavailable)
        assert f"grant it +{command.partition('|')[0]}" in str(found)
        return
    assert len(found) == len(SICK) + 6
    assert {subject for subject, one in found.items() if one.level == "ok"} & SICK == set()
    for one in found.values():
        if one.level == "unknown":
            assert one.text.startswith("Redis ")
            assert "ask the operator of this Redis" in one.fix
            assert command.partition("|")[0] in one.fix or "ACL LOG" in one.fix


@pytest.mark.parametrize(
    ("commands", "unknown"),
    [
        (["config"], {"persistence"}),
        (["info"], {"version"}),
        (["info", "config"], {"version", "eviction", "persistence"}),
        (["scan"], {"lanes", "keys", "limits"}),
        (["ping"], {"latency"}),
    ],
    ids=lambda case: "+".join(sorted(case)),
)
async def test_what_is_unknown(
    own_redis_server: RedisServer, commands: list[str], unknown: set[str]
) -> None:
    """Each subject is looked at by itself, and settings where they are told."""
    found = await found_at(refuse(own_redis_server, *commands))
    assert {subject for subject, one in found.items() if one.level == "unknown"} == unknown


async def test_commands_that_a_host_has_removed() -> None:
    """They are unknown there, and so is what they would have told."""
    with RedisServer("--rename-command", "CONFIG", "", "--rename-command", "INFO", "") as server:
        found = await found_at(server.url)
        assert {one.subject for one in found.values() if one.level == "unknown"} == {
            *("version", "eviction", "persistence")
        }


@pytest.mark.may_block("it starts processes")
async def test_the_exit_code(
    own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unknown does not change it, or it would be 1 for ever on many hosts; it is told."""
    url = refuse(own_redis_server, "config", "info")
    monkeypatch.setenv("AIOSTREAMQ_URL", url)
    command = ("-m", "aiostreamq", "doctor", "tests.integration.looking_app:queue")
    async with Program(*command) as program:
        assert await program.wait_end() == 0, program.printed
    assert "?     eviction" in program.printed
    assert "of 14 subjects, unknown: eviction, persistence, version" in program.printed
    async with Queue(own_redis_server.url, name="looked-into") as queue:
        await queue.enqueue("add", 1)
    async with Program(*command) as program:
        assert await program.wait_end() == 1, program.printed
