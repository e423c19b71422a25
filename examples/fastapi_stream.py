"""A job that streams, as server-sent events to a browser, with FastAPI.

    export AIOSTREAMQ_URL=redis://localhost:6379
    uvicorn examples.fastapi_stream:app                       # the web server
    python -m aiostreamq run examples.fastapi_stream:queue    # in another shell: the worker

    curl -d '{"topic": "a fox"}' -H 'content-type: application/json' localhost:8000/stories
    curl -N localhost:8000/stories/<the id that it answered>/events

A browser that loses its connection comes back by itself and says which event it saw last
(`Last-Event-ID`); it gets what followed, from any server process.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from aiostreamq import (
    AioStreamQError,
    BrokerError,
    Context,
    Event,
    JobNotFound,
    Queue,
    UsageError,
)

queue = Queue(name="stories")  # at $AIOSTREAMQ_URL


@queue.task(timeout="5m", result_ttl="10m")
async def tell(
    context: Context, topic: str, words: int = 40, pause: float = 0.05
) -> AsyncIterator[str]:
    """Tell a story, word by word, as a language model would."""
    if not topic:
        yield "Once"
        raise ValueError("a story needs a topic")
    story = f"Once upon a time there was {topic} and it lived happily ".split()
    for place in range(words):
        if place % 10 == 0:
            await context.progress(place / words, "telling")
        yield story[place % len(story)]
        await asyncio.sleep(pause)


class Order(BaseModel):
    """What is sent."""

    topic: str
    words: int = 40
    pause: float = 0.05


class Accepted(BaseModel):
    """Where to listen."""

    id: str
    events: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Keep the queue open as long as the server runs."""
    async with queue:
        yield


app = FastAPI(title="Stories", lifespan=lifespan)


@app.post("/stories", status_code=202)
async def begin(order: Order) -> Accepted:
    """Enqueue a story and answer at once."""
    job = await tell.enqueue(order.topic, order.words, order.pause)
    return Accepted(id=job.id, events=f"/stories/{job.id}/events")


@app.get("/stories/{job_id}/events")
async def listen(
    job_id: str, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Send what the job says, from the first word or from behind the last that was heard."""
    try:
        job = queue.job(job_id)
        await job.status()
        events = job.events(after=last_event_id)
    except (JobNotFound, UsageError) as error:  # no such job, or what is no id at all
        raise HTTPException(404, str(error)) from error
    return StreamingResponse(as_sse(events), media_type="text/event-stream")


async def as_sse(events: AsyncGenerator[Event[object], None]) -> AsyncIterator[str]:
    """Write events as a browser's EventSource reads them, and at last how the job ended.

    The browser closes the stream when it hears `end` or `failed`; else it would come back.
    """
    async with aclosing(events):  # also when the client goes away
        try:
            async for event in events:
                yield f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(asdict(event))}\n\n"
        except BrokerError:
            return  # Redis is away: the browser comes back, and goes on where it was
        except AioStreamQError as error:  # the job failed, was cancelled, or keeps no result
            yield f"event: failed\ndata: {json.dumps(str(error))}\n\n"
            return
    yield 'event: end\ndata: "done"\n\n'


@app.exception_handler(BrokerError)
async def redis_is_away(_: Request, error: BrokerError) -> JSONResponse:
    """Say that trying again may help."""
    return JSONResponse({"detail": str(error)}, status_code=503)
