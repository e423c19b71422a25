"""A lock among processes that are killed and stopped: what its holders wrote, beside each other."""

import math
import signal
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from tests.support.processes import Program
from tests.support.waiting import TIME_SCALE, wait_until

#: Seconds.
LEASE = 0.5 * TIME_SCALE


class Line(NamedTuple):
    """A line of the ledger."""

    event: str
    fence: int
    ms: int


async def ledger(client: Redis) -> list[Line]:
    """Return what the holders wrote, in its order."""
    found = await client.lrange("ledger", 0, -1)
    parts = [str(line).split() for line in found]
    return [Line(event, int(fence), int(ms)) for event, fence, ms in parts]


async def more(client: Redis, lines: int) -> None:
    """Wait for more lines."""
    have = len(await ledger(client))

    async def are_there() -> bool:
        return len(await ledger(client)) >= have + lines

    await wait_until(are_there, "more lines of holders")


async def start(stack: AsyncExitStack, url: str, tasks: int, count: int) -> list[Program]:
    """Start programs with a number of tasks each that take the lock in turn."""
    arguments = ("-m", "tests.integration.locks_app", url, str(tasks), str(LEASE))
    programs = [await stack.enter_async_context(Program(*arguments)) for _ in range(count)]
    for program in programs:
        await program.wait_for_line("up")
    return programs


@pytest.mark.may_block("processes start")
async def test_killed(redis_url: str, client: Redis) -> None:
    """The waiters of a program that was killed do not stop the line."""
    async with AsyncExitStack() as stack:
        programs = await start(stack, redis_url, 2, 2)
        await more(client, 20)
        programs[0].send_signal(signal.SIGKILL)
        await more(client, 20)
    await check(client)


# A program that is gone delays the line for as long as the places of its waiters last: 15 seconds.
@pytest.mark.nightly
@pytest.mark.may_block("processes start")
async def test_killed_and_stopped(redis_url: str, client: Redis) -> None:
    """The same if several programs with many waiters are killed, or stopped for a while."""
    async with AsyncExitStack() as stack:
        programs = await start(stack, redis_url, 13, 4)
        await more(client, 100)
        for stopped, killed in ((programs[0], programs[1]), (programs[2], programs[3])):
            stopped.send_signal(signal.SIGSTOP)
            await more(client, 100)
            killed.send_signal(signal.SIGKILL)
            if killed is programs[3]:
                programs[0].send_signal(signal.SIGCONT)
            await more(client, 100)
        programs[2].send_signal(signal.SIGCONT)
        await more(client, 100)
    await check(client)


async def check(client: Redis) -> None:
    """Fences rise, and a holder continues beside the next only if its own lease was over."""
    lines, lease_ms = await ledger(client), LEASE * 1000
    entered = [line for line in lines if line.event == "in"]
    # One that was stopped before it wrote is late. A fence is the time at which it was given.
    in_time = [line.fence for line in entered if line.ms - line.fence < lease_ms]
    assert in_time == sorted(in_time)
    fences = sorted(line.fence for line in entered)
    assert len(set(fences)) == len(fences)
    left = {line.fence: line.ms for line in lines if line.event == "out"}
    overlaps = [
        (fence, after)
        for fence, after in pairwise(fences)
        if left.get(fence, math.inf) > after and after < fence + lease_ms
    ]
    assert overlaps == []
