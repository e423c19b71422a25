"""Whose turn it is among jobs that were with dead workers."""

import asyncio
from contextlib import AsyncExitStack
from typing import cast

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.store.workers import WorkerRegistry
from aiostreamq.worker.leases import poison_guard
from aiostreamq.worker.leases.poison_guard import PoisonGuard
from tests.support.waiting import wait_until


class Marks:
    """The one thing of a roster that is needed here."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def note_suspect_run(self, delivery: Delivery) -> bool:
        """Note who was marked."""
        self.made.append(delivery.job_id)
        return True


class Scene:
    """Suspects, and what they have said."""

    def __init__(self) -> None:
        self.marks = Marks()
        self.reopened = 0
        self.suspects = PoisonGuard(cast("WorkerRegistry", self.marks), 3, self.reopen)

    def reopen(self) -> None:
        """Count."""
        self.reopened += 1

    def run(self, name: str, deaths: int, until: asyncio.Event) -> "asyncio.Task[None]":
        """Run a job in its turn until told to end."""
        turn = self.suspects.admit(Delivery(1, b"1-1", name, 2, b"", 1, deaths))

        async def body() -> None:
            async with turn:
                await until.wait()

        return asyncio.create_task(body())


async def turns(count: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_first_death_runs_among_others() -> None:
    """After one death all run at once, and nothing is held up."""
    scene, end = Scene(), asyncio.Event()
    tasks = [scene.run(name, 1, end) for name in "abc"]
    await turns()
    assert scene.marks.made == ["a", "b", "c"]
    assert not scene.suspects.is_closed
    end.set()
    await asyncio.gather(*tasks)


async def test_last_chance_is_alone() -> None:
    """It waits for those that started lately; from then until it ends, nothing else may start."""
    scene, end, last_end = Scene(), asyncio.Event(), asyncio.Event()
    before = scene.run("before", 1, end)
    await turns()
    last = scene.run("last", 2, last_end)
    await turns()
    assert scene.marks.made == ["before"]
    assert scene.suspects.is_closed
    end.set()
    await turns(10)
    assert scene.marks.made == ["before", "last"]
    assert scene.suspects.is_closed
    last_end.set()
    await asyncio.gather(before, last)
    assert not scene.suspects.is_closed
    assert scene.reopened == 1


async def test_long_job_does_not_hold_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while a job that continues is not what kills: the next may start beside it."""
    monkeypatch.setattr(poison_guard, "WATCH", 0.01)
    scene = Scene()
    async with AsyncExitStack() as stack:
        for name in "abc":
            delivery = Delivery(1, b"1-1", name, 2, b"", 1, 2)
            await asyncio.wait_for(
                stack.enter_async_context(scene.suspects.admit(delivery)), timeout=5
            )
            assert scene.suspects.is_closed
            await wait_until(lambda: not scene.suspects.is_closed, "the others to go on")
        assert scene.marks.made == ["a", "b", "c"]
    assert scene.reopened == 3


async def test_cancelled_while_it_waits() -> None:
    """Whoever stops waiting lets the others start."""
    scene, end = Scene(), asyncio.Event()
    first = scene.run("first", 1, end)
    await turns()
    waiting = scene.run("waiting", 2, end)
    await turns()
    assert scene.suspects.is_closed
    waiting.cancel()
    await turns(10)
    assert not scene.suspects.is_closed
    assert scene.reopened == 1
    assert scene.marks.made == ["first"]
    end.set()
    await first


async def test_never_begun() -> None:
    """A turn can be given up before it was taken."""
    scene = Scene()
    turn = scene.suspects.admit(Delivery(1, b"1-1", "a", 2, b"", 1, 2))
    assert scene.suspects.is_closed
    turn.close()
    turn.close()
    assert not scene.suspects.is_closed
    assert scene.reopened == 1
