"""A service that fails is started again, after growing pauses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from aiostreamq.aio import backoff, supervision
from aiostreamq.aio.supervision import keep_running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 0.002)


class Fragile:
    """A service that fails some times, and then runs."""

    def __init__(self, failures: int) -> None:
        self.log: list[str] = []
        self.runs = asyncio.Event()
        self._failures = failures

    async def run(self) -> None:
        """Fail, or run until cancelled."""
        self.log.append("run")
        if self.log.count("run") <= self._failures:
            raise RuntimeError("unexpected")
        self.runs.set()
        await asyncio.Event().wait()

    def look(self) -> None:
        """Be told that something may have been missed."""
        self.log.append("look")


@asynccontextmanager
async def kept(fragile: Fragile) -> AsyncGenerator[asyncio.Task[None]]:
    """Keep it running while the block runs."""
    keeping = asyncio.create_task(keep_running("reaper", fragile.run, fragile.look))
    try:
        yield keeping
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    """As often as it fails; what it may have missed is looked at, and each failure told."""
    fragile = Fragile(3)
    async with kept(fragile), asyncio.timeout(5):
        await fragile.runs.wait()
    assert fragile.log == ["run", *["look", "run"] * 3]
    told = [record for record in caplog.records if record.exc_info is not None]
    assert len(told) == 3
    assert "the reaper of this worker has failed" in told[0].getMessage()


async def test_cancelled() -> None:
    """It ends when it is told to, and only then."""
    fragile = Fragile(0)
    async with kept(fragile) as keeping:
        await fragile.runs.wait()
        assert not keeping.done()
    assert keeping.cancelled()
    assert fragile.log == ["run"]


async def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at once each time is begun ever more seldom, within bounds."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 4.0)
    monkeypatch.setattr(backoff.random, "random", lambda: 0.5)
    pauses: list[float] = []

    async def rest(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(supervision.asyncio, "sleep", rest)
    fragile = Fragile(5)
    async with kept(fragile), asyncio.timeout(5):
        await fragile.runs.wait()
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
