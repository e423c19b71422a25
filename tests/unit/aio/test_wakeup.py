"""Sleeping until woken, or until the time is up."""

import asyncio

import pytest

from aiostreamq.aio.wakeup import Wakeup, wait_for_event

LONG = 3600.0


async def test_sleep_ends_when_woken() -> None:
    """However long it would have lasted; without a limit too."""
    wakeup = Wakeup()
    for seconds in (LONG, None):
        sleeping = asyncio.create_task(wakeup.wait(seconds))
        await asyncio.sleep(0)
        wakeup.wake()
        async with asyncio.timeout(5):
            assert await sleeping


async def test_sleep_ends_when_its_time_is_up() -> None:
    """And says that it was not woken."""
    async with asyncio.timeout(5):
        assert not await Wakeup().wait(0.001)


async def test_wakeup_while_awake_is_kept() -> None:
    """It ends the next sleep at once, and only that one."""
    wakeup = Wakeup()
    wakeup.wake()
    wakeup.wake()
    async with asyncio.timeout(5):
        assert await wakeup.wait(LONG)
        assert not await wakeup.wait(0)


async def test_wakeup_outlives_a_cancelled_sleep() -> None:
    """Whatever sleeps next is woken."""
    wakeup = Wakeup()
    sleeping = asyncio.create_task(wakeup.wait(None))
    await asyncio.sleep(0)
    wakeup.wake()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    async with asyncio.timeout(5):
        assert await wakeup.wait(LONG)


async def test_event_ends_the_wait_and_stays_set() -> None:
    """Any number of tasks may wait for one event."""
    event = asyncio.Event()
    assert not await wait_for_event(event, 0)
    waiting = [asyncio.create_task(wait_for_event(event, LONG)) for _ in range(2)]
    await asyncio.sleep(0)
    event.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [True, True]
    assert event.is_set()
