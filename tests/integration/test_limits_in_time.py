"""Held jobs in a test whose clock stands still: each starts when its limit has room."""

import asyncio

import pytest

from aiostreamq import Concurrency, Queue, Rate, clock
from aiostreamq.testing import isolated


@pytest.mark.parametrize("has_run_before", [False, True])
@pytest.mark.parametrize(
    ("rate", "moments"),
    [
        ("10/s", [0, 0.1, 0.2]),
        ("10/m", [0, 6, 12]),
        ("1/h", [0, 3600, 7200]),
        ("1/3d", [0, 259_200, 518_400]),
    ],
)
async def test_rates(rate: str, moments: list[float], *, has_run_before: bool) -> None:
    """Whether the wait is shorter or longer than that of a worker between two looks."""
    queue, seen = Queue(name="app"), list[float]()

    @queue.task(limits=[Rate(rate, burst=1)])
    async def ping() -> None:
        seen.append(clock.wall())

    async with isolated(queue) as test:
        time = test.stop_clock()
        for _ in moments:
            await ping.enqueue()
        if has_run_before:  # by a worker that claims the next look, and is gone then
            await test.run_all()
        await time.advance(moments[-1])
    assert [round(one - seen[0], 3) for one in seen] == moments


async def test_end_of_a_job() -> None:
    """It makes room, at that moment."""
    queue, seen = Queue(name="app"), list[float]()

    @queue.task(limits=[Concurrency(1)])
    async def rest() -> None:
        seen.append(clock.wall())
        await asyncio.sleep(600)

    async with isolated(queue) as test:
        time = test.stop_clock()
        for _ in range(3):
            await rest.enqueue()
        await time.advance("1h")
    assert [round(one - seen[0], 1) for one in seen] == [0, 600, 1200]
