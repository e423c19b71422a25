"""A context in a task of its own: entered, left, cancelled, abandoned."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from aiostreamq.aio import held_context
from aiostreamq.aio.held_context import HeldContext


@asynccontextmanager
async def recorded(events: list[str]) -> AsyncGenerator[str]:
    """Write down what happens."""
    events.append("enter")
    try:
        yield "value"
    except BaseException as error:
        events.append(type(error).__name__)
        raise
    finally:
        events.append("leave")


async def test_life() -> None:
    """It gives the value, and is open until it is asked to end."""
    events: list[str] = []
    held = HeldContext(recorded(events), "held")
    assert await held.enter() == "value"
    assert events == ["enter"]
    assert await held.leave(None)
    assert events == ["enter", "leave"]
    assert held.failure is None


async def test_error() -> None:
    """It can be left with an exception, which is not its own failure."""
    events: list[str] = []
    held = HeldContext(recorded(events), "held")
    await held.enter()
    assert await held.leave(None, ValueError())
    assert events == ["enter", "ValueError", "leave"]
    assert held.failure is None


async def test_abort() -> None:
    """It can be cancelled without waiting."""
    events: list[str] = []
    held = HeldContext(recorded(events), "held")
    await held.enter()
    held.abort()
    assert held.task is not None
    await held.task
    assert events == ["enter", "CancelledError", "leave"]


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyError(), GeneratorExit()])
async def test_failures(error: BaseException) -> None:
    """An exception at the start is raised to the caller, and one at the end is kept."""

    @asynccontextmanager
    async def failing(*, at_start: bool) -> AsyncGenerator[None]:
        if at_start:
            raise error
        yield
        raise error

    with pytest.raises(type(error)):
        await HeldContext(failing(at_start=True), "held").enter()
    held = HeldContext(failing(at_start=False), "held")
    await held.enter()
    assert await held.leave(None)
    assert held.failure is error


async def test_task_group() -> None:
    """A task group can be open in it, whichever tasks enter and leave."""

    @asynccontextmanager
    async def grouped() -> AsyncGenerator[None]:
        async with anyio.create_task_group():
            yield

    held = HeldContext(grouped(), "held")
    await asyncio.create_task(held.enter())
    assert await asyncio.create_task(held.leave(None))
    assert held.failure is None


@pytest.mark.parametrize("obeys", [True, False])
async def test_hanging(monkeypatch: pytest.MonkeyPatch, obeys: bool) -> None:
    """One that hangs at its end is cancelled, and then abandoned."""
    monkeypatch.setattr(held_context, "OBEY", 0.01)
    release = asyncio.Event()

    @asynccontextmanager
    async def hanging() -> AsyncGenerator[None]:
        yield
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                if obeys:
                    raise

    held = HeldContext(hanging(), "held")
    await held.enter()
    assert await held.leave(0.01) is obeys
    release.set()
    assert held.task is not None
    await held.task


async def test_cancelled_while_entering() -> None:
    """Cancelling the caller cancels the entering."""
    events, begun = list[str](), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncGenerator[None]:
        events.append("begin")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("end")
        yield

    entering = asyncio.create_task(HeldContext(slow(), "held").enter())
    await begun.wait()
    entering.cancel()
    await asyncio.wait({entering})
    assert entering.cancelled()
    assert events == ["begin", "end"]
