"""The growing pauses between tries."""

import asyncio

import pytest

from aiostreamq.aio import backoff
from aiostreamq.aio.backoff import Backoff


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """And begin with the shortest again after a reset."""
    monkeypatch.setattr(backoff.random, "random", lambda: 0.5)
    pauses = Backoff(1.0, 5.0)
    assert [pauses.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    pauses.reset()
    assert pauses.next() == 1.0


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 1.0), (0.999, 2.998)])
def test_pause_is_drawn_around_its_length(
    monkeypatch: pytest.MonkeyPatch, draw: float, seconds: float
) -> None:
    """Between half and one and a half times of it."""
    monkeypatch.setattr(backoff.random, "random", lambda: draw)
    assert Backoff(2.0, 2.0).next() == pytest.approx(seconds)


async def test_pause_is_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeping and asking for a pause grow the same sequence."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(backoff.random, "random", lambda: 0.5)
    monkeypatch.setattr(backoff.asyncio, "sleep", sleep)
    pauses = Backoff(0.5, 8.0)
    await pauses.pause()
    slept.append(pauses.next())
    await pauses.pause()
    assert slept == [0.5, 1.0, 2.0]


async def test_cancelled_pause_ends_at_once() -> None:
    """Nothing is held back by a long pause."""
    sleeping = asyncio.create_task(Backoff(3600.0, 3600.0).pause())
    await asyncio.sleep(0)
    sleeping.cancel()
    done, _ = await asyncio.wait([sleeping], timeout=5)
    assert done == {sleeping}
