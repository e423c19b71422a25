"""The events of a job as server-sent events, for any framework that can send a stream of bytes."""

import asyncio
from contextlib import aclosing
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar, cast

import orjson

from aiostreamq.errors import AioStreamQError, BrokerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiostreamq.client.job import Job
    from aiostreamq.model.job_events import Event

T = TypeVar("T")

#: The headers of a response that sends them. Proxies such as nginx would else collect events.
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

# Seconds of silence after which a comment is sent: proxies close a connection that seems idle.
KEEP_ALIVE = 15.0

_COMMENT = b": keep-alive\n\n"


def encode_events(job: "Job[object]", after: str | None = None) -> "AsyncGenerator[bytes, None]":
    """Yield the events of a job as server-sent events, to its end.

    Each event of the job is one of its kind: `progress`, `chunk`, `restarted` or `lost`, with an
    id from which a browser continues after a lost connection. The last event is `end`, with the
    result as its data, or `failed`, with `error` and `message`, also for a job that keeps no
    result. The browser has to close the stream then: an `EventSource` would connect again. If Redis
    is away, the stream ends without either, so that the browser comes back.

    Args:
        job: The job.
        after: The `Last-Event-ID` header of the request, if it has one.

    Raises:
        UsageError: *after* is not the id of an event.

    Close the iterator if you stop early. Cancelling is safe.
    """
    return _encode(job, job.events(after))


async def _encode(
    job: "Job[object]", events: "AsyncGenerator[Event[object], None]"
) -> "AsyncGenerator[bytes, None]":
    try:
        async with aclosing(_with_silences(events, KEEP_ALIVE)) as found:
            async for event in found:
                yield _COMMENT if event is None else _event_bytes(event)
        yield _ending_bytes("end", await job)
    except BrokerError:
        return
    except AioStreamQError as error:
        yield _ending_bytes("failed", {"error": type(error).__name__, "message": str(error)})


async def _with_silences(
    items: "AsyncGenerator[T, None]", silence: float
) -> "AsyncGenerator[T | None, None]":
    """Yield what *items* yields, and None each time that it is silent for *silence* seconds."""
    coming: asyncio.Task[T] | None = None
    try:
        while True:
            # The wait for an item is a task of its own, so that a silence does not cancel it.
            coming = coming or asyncio.create_task(_next(items))
            await asyncio.wait({coming}, timeout=silence)
            if not coming.done():
                yield None
                continue
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield item
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        await items.aclose()


async def _next(items: "AsyncIterator[T]") -> T:
    return await anext(items)


def _event_bytes(event: "Event[object]") -> bytes:
    data = {field.name: getattr(event, field.name) for field in fields(event)}
    names = event.id.encode(), event.kind.encode()
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (*names, _json(data))


def _ending_bytes(kind: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json(data))


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: object) -> object:
    """Return a value that orjson can write, for one that it cannot."""
    dump = getattr(value, "model_dump", None)  # pydantic's models
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, set | frozenset):
        return list(cast("set[object]", value))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
