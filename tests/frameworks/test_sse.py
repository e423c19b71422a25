"""Jobs as server-sent events: what the frameworks' helpers send."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.contrib import sse
from aiostreamq.contrib.sse import encode_events
from tests.support.waiting import wait_until


class Model(BaseModel):
    """A value of pydantic's."""

    when: datetime


@dataclass
class Point:
    """A value of one's own."""

    x: int


WHEN = datetime(2026, 1, 2, tzinfo=UTC)


async def streams_models() -> AsyncIterator[Model]:
    """Yield a model."""
    yield Model(when=WHEN)


async def streams_points() -> AsyncIterator[Point]:
    """Yield a dataclass."""
    yield Point(1)


async def streams_sets() -> AsyncIterator[set[int]]:
    """Yield a set."""
    yield {1}


async def streams_bytes() -> AsyncIterator[bytes]:
    """Yield bytes."""
    yield b"abc"


async def streams_ids() -> AsyncIterator[UUID]:
    """Yield a UUID."""
    yield UUID(int=1)


async def streams_lines() -> AsyncIterator[str]:
    """Yield text that would end an event early if it were not encoded."""
    yield "a\n\nevent: end\r\ndata: b"


WRITTEN = {
    streams_models: {"when": "2026-01-02T00:00:00Z"},
    streams_points: {"x": 1},
    streams_sets: [1],
    streams_bytes: "abc",
    streams_ids: "00000000-0000-0000-0000-000000000001",
    streams_lines: "a\n\nevent: end\r\ndata: b",
}


@pytest.mark.parametrize("function", WRITTEN, ids=lambda function: function.__name__)
async def test_values_are_written_as_json(function: object) -> None:
    """Each type that a task can stream is one event, as JSON."""
    async with Queue("memory://") as queue, Worker(queue):
        assert callable(function)
        job = await queue.enqueue(queue.task(function).bind().spec.name)
        events = [event async for event in encode_events(job)]
    chunk, end = (dict(part.split(b": ", 1) for part in one.splitlines() if part) for one in events)
    assert chunk[b"event"] == b"chunk"
    assert json.loads(chunk[b"data"])["value"] == WRITTEN[function]  # type: ignore[index]  # pyright: ignore[reportArgumentType]  # one of its keys
    assert end == {b"event": b"end", b"data": b"null"}


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy does not see an idle connection while a job is silent, and no event is lost."""
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.01)
    async with Queue("memory://") as queue, Worker(queue):
        go_on = asyncio.Event()

        @queue.task
        async def slow() -> AsyncIterator[int]:
            yield 1
            await go_on.wait()
            yield 2

        events: list[bytes] = []
        async for event in encode_events(await slow.enqueue()):
            events.append(event)
            if events.count(b": keep-alive\n\n") == 3:
                go_on.set()
    names = [event.splitlines()[1] for event in events if event.startswith(b"id")]
    assert names == [b"event: chunk"] * 2
    assert events[-1].startswith(b"event: end")


async def test_reader_that_stops_early() -> None:
    """Closing the iterator leaves nothing behind that still reads."""
    async with Queue("memory://") as queue, Worker(queue):

        @queue.task
        async def endless() -> AsyncIterator[int]:
            while True:
                yield 1
                await asyncio.sleep(0.001)

        job = await endless.enqueue()
        async with aclosing(encode_events(job)) as events:
            await anext(events)
        reading = f"aiostreamq:end:{job.id}"
        await wait_until(
            lambda: reading not in {task.get_name() for task in asyncio.all_tasks()},
            "the reading to end",
        )
        await job.cancel()


async def test_invalid_position_is_refused_at_once() -> None:
    """The error comes before the response begins."""
    async with Queue("memory://") as queue:
        with pytest.raises(UsageError, match="event"):
            encode_events(queue.job("x"), "never")


async def test_redis_that_goes_away_ends_without_an_end() -> None:
    """The browser comes back: it was not events that the job has ended."""
    queue = Queue("memory://")
    async with queue:
        job = await queue.enqueue("unknown")
        events = encode_events(job)
        reading = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)
    assert await reading is None
