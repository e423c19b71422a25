"""Asking an event loop from another thread whether it turns."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from aiostreamq import clock
from aiostreamq.aio.watchdog import LoopWatchdog


class Watched:
    """An event loop in a thread of its own, which can be blocked."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.answers = 0
        self.answered = threading.Event()
        self.is_blocked = threading.Event()
        self.release = threading.Event()
        self.task: asyncio.Task[None] | None = None  # that blocks
        self._ready = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        self._ready.wait()

    def _run(self) -> None:
        self.watchdog = LoopWatchdog(self.loop, self._count)
        self.loop.call_soon(self._ready.set)
        self.loop.run_forever()
        self.loop.close()

    def _count(self) -> None:
        self.answers += 1
        self.answered.set()

    async def block_the_loop(self) -> None:
        """Block the loop until the test lets it continue."""
        self.is_blocked.set()
        self.release.wait()

    def block(self) -> None:
        """Block the loop by a task of the name "stuck"."""

        def start() -> None:
            self.task = self.loop.create_task(self.block_the_loop(), name="stuck")

        self.loop.call_soon_threadsafe(start)
        assert self.is_blocked.wait(5)

    def end(self) -> None:
        """End the loop and its thread."""
        self.release.set()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A loop that turns."""
    watched = Watched()
    yield watched
    if watched.thread.is_alive():
        watched.end()


def test_loop_that_turns_answers(watched: Watched) -> None:
    """Each question, so that the next may be asked."""
    for _ in range(2):
        watched.answered.clear()
        assert watched.watchdog.ask()
        assert watched.answered.wait(5)
        assert watched.watchdog.blocked_for() == 0.0
    assert watched.answers == 2


def test_blocked_loop_is_seen(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """For how long, by which task, and where it is; one question is under way at a time."""
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    watched.block()
    assert watched.watchdog.ask()
    now = 103.5
    assert not watched.watchdog.ask()
    assert watched.watchdog.blocked_for() == 3.5
    assert watched.watchdog.running_task() == "stuck"
    assert "in block_the_loop" in watched.watchdog.stack()
    watched.release.set()
    assert watched.answered.wait(5)
    assert watched.watchdog.ask()


def test_closed_loop_never_answers(watched: Watched) -> None:
    """Asking it raises nothing."""
    watched.end()
    assert watched.watchdog.ask()
    assert not watched.watchdog.ask()
    assert watched.watchdog.running_task() == "a callback"
    assert watched.watchdog.stack() == "(no stack)\n"
