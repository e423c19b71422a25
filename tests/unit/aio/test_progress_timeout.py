"""A timeout that is put off while there is progress."""

import asyncio
from collections.abc import Iterable

import pytest

from aiostreamq.aio import progress_timeout
from aiostreamq.aio.progress_timeout import Patience


def answers(given: Iterable[bool]) -> "list[bool]":
    """Return answers in the order in which `pop` gives them."""
    return list(given)[::-1]


@pytest.mark.parametrize("seconds", [0, 0.01])
@pytest.mark.parametrize("times", [0, 1, 3])
async def test_put_off(seconds: float, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again and again, and ends at the second look in a row without progress."""
    monkeypatch.setattr(progress_timeout, "LOOK_AGAIN", 0.01)
    left = answers([True] * times + [False] * (2 if times else 1))
    with pytest.raises(TimeoutError):
        async with Patience(seconds, left.pop):
            await asyncio.Event().wait()
    assert left == []


@pytest.mark.parametrize("pattern", ["10", "1010", "110"])
async def test_answer_after_the_last_progress(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block may still get an answer: a look between the two does not end it."""
    monkeypatch.setattr(progress_timeout, "LOOK_AGAIN", 0.01)
    left, seen = answers(letter == "1" for letter in pattern), asyncio.Event()

    def gets_on() -> bool:
        if len(left) == 1:
            seen.set()
        return left.pop()

    async with Patience(0, gets_on):
        await seen.wait()
    assert left == []


async def test_in_time() -> None:
    """A block that ends in time is not disturbed, and neither is what follows."""
    left = answers([False])
    async with Patience(0.02, left.pop):
        pass
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()
    assert left == [False]


async def test_other_errors() -> None:
    """Errors of the block pass."""
    with pytest.raises(ZeroDivisionError):
        async with Patience(60, lambda: False):
            raise ZeroDivisionError


async def test_cancelled_from_outside() -> None:
    """A cancellation stays one."""

    async def wait() -> None:
        async with Patience(60, lambda: False):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_as_the_time_is_up() -> None:
    """If both come in one turn, the cancellation counts."""

    async def wait() -> None:
        async with Patience(0, is_moving):
            await asyncio.Event().wait()

    def is_moving() -> bool:
        task.cancel()
        return False

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nested() -> None:
    """The inner one that is over does not end the outer one."""
    async with Patience(60, lambda: False):
        with pytest.raises(TimeoutError):
            async with Patience(0, lambda: False):
                await asyncio.Event().wait()
        await asyncio.get_running_loop().run_in_executor(None, int)
