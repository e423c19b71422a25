"""Schedules that somebody has damaged: they are told, and stop no other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.core import core_of
from aiostreamq.client.doctor import diagnose
from aiostreamq.store.schedules import TICK_LIMIT
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: More than one look at what is due lists.
MANY = TICK_LIMIT + 5


async def no_definition(queue: Queue, name: str) -> None:
    """Let a schedule say what no worker of this release knows."""
    broker = core_of(queue).session().store
    await core_of(queue).session().schedules.put(name, b'{"v":2}', 5000, 5, replace=False)
    await broker.call("HSET", broker.keys.schedule(name), "at", "5000")


async def no_plan(queue: Queue, name: str) -> None:
    """Let a schedule be due before the first year of the calendar."""
    broker = core_of(queue).session().store
    await queue.schedules.create(name, "nobody", every="1h")
    await broker.call("HSET", broker.keys.schedule(name), "at", -(10**15))
    await broker.call("ZADD", broker.keys.schedule_due, -(10**15), name)


async def no_number(queue: Queue, name: str) -> None:
    """Let a schedule be due at no time at all."""
    broker = core_of(queue).session().store
    await queue.schedules.create(name, "nobody", every="1h")
    await broker.call("HSET", broker.keys.schedule(name), "at", "soon")
    await broker.call("ZADD", broker.keys.schedule_due, 5000, name)


async def no_lane(queue: Queue, name: str) -> None:
    """Let a schedule be for a lane that is another program's key."""
    broker = core_of(queue).session().store
    await queue.schedules.create(name, "nobody", every="1h")
    raw = cast("bytes", await broker.call("HGET", broker.keys.schedules, name))
    told = orjson.loads(raw) | {"lane": "odd"}
    await broker.call("HSET", broker.keys.schedules, name, orjson.dumps(told))
    await broker.call("SET", broker.keys.stream("odd"), "?")
    at = broker.clock.now_ms() - 1000
    await broker.call("HSET", broker.keys.schedule(name), "at", at)
    await broker.call("ZADD", broker.keys.schedule_due, at, name)


async def no_room(queue: Queue, name: str) -> None:
    """Let a tick of a schedule wait for the end of a job that nobody runs; it is not damaged."""
    broker = core_of(queue).session().store
    await queue.schedules.create(name, "nobody", every="1h", overlap="buffer_one")
    job = await queue.schedules.trigger(name)
    await broker.call("HSET", broker.keys.schedule(name), "held", 5000, "last", job.id)
    await broker.call("ZADD", broker.keys.schedule_due, 5000, name)


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("spoil", [no_definition, no_plan, no_number, no_lane, no_room])
@pytest.mark.parametrize("is_declared", [False, True])
async def test_many_before_a_good_one(
    queue: Queue, spoil: Callable[[Queue, str], Awaitable[None]], *, is_declared: bool
) -> None:
    """However many are due and can not be fired, those behind them are."""
    seen: list[int] = []

    @queue.task
    async def beat() -> None:
        seen.append(1)

    for number in range(MANY):
        await spoil(queue, f"bad{number}")
    if is_declared:
        queue.every("100ms")(beat)
    else:
        await queue.schedules.create("beat", beat, every="100ms")
    async with Worker(queue):
        await wait_until(lambda: len(seen) > 1, "ticks")


@pytest.mark.parametrize("field", ["at", "held", "runs", "skipped", "seen", "last_at"])
async def test_damaged_field(queue: Queue, caplog: pytest.LogCaptureFixture, field: str) -> None:
    """A worker starts and fires the others; the list leaves it out, and says so."""
    seen: list[int] = []

    @queue.every("100ms")
    async def beat() -> None:
        seen.append(1)

    broker = core_of(queue).session().store
    await queue.schedules.create("bad", "nobody", every="1h")
    await broker.call("HSET", broker.keys.schedule("bad"), field, "x")
    await broker.call("ZADD", broker.keys.schedule_due, 5000, "bad")
    async with Worker(queue):
        await wait_until(lambda: len(seen) > 2, "ticks of another schedule")
        with caplog.at_level(logging.WARNING, "aiostreamq.schedules"):
            assert [one.name for one in await queue.schedules.list()] == ["beat"]
    [told] = [one for one in caplog.messages if "left out of the list" in one]
    assert "'bad'" in told
    assert f"{field!r} is b'x'" in told


async def test_unreadable_schedule_is_reported_with_its_reason(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """One can ask for it by name and is told why, the doctor finds it, and it can be deleted."""
    broker = core_of(queue).session().store
    for name in ("field", "hash", "good"):
        await queue.schedules.create(name, "nobody", every="1h")
    await no_definition(queue, "newer")
    await broker.call("HSET", broker.keys.schedule("field"), "runs", "x")
    await broker.call("SET", broker.keys.schedule("hash"), "of another program")
    bad = {"field", "hash", "newer"}

    with caplog.at_level(logging.WARNING, "aiostreamq.schedules"):
        assert [one.name for one in await queue.schedules.list()] == ["good"]
    assert {name for name in bad if f"'{name}'" in caplog.text} == bad
    found = [one for one in await diagnose(queue) if one.subject == "schedules"]
    assert {one.level for one in found} == {"problem"}
    assert len([one for one in found for name in bad if f"'{name}'" in one.text]) == len(bad)
    assert all(one.fix for one in found)
    for name in bad:
        with pytest.raises(UsageError, match=f"schedule '{name}'"):
            await queue.schedules.get(name)
        assert await queue.schedules.delete(name)
    assert [one.level for one in await diagnose(queue) if one.subject == "schedules"] == ["ok"]
