"""Jobs behind a web API, with aiohttp.

    export AIOSTREAMQ_URL=redis://localhost:6379
    python -m aiohttp.web -P 8000 examples.aiohttp_app:make_app    # the web server
    python -m aiostreamq run examples.aiohttp_app:queue            # in another shell: the worker

    curl -d '{"text": "to be or not to be"}' localhost:8000/jobs
    curl localhost:8000/jobs/<the id that it answered>

The same API as that of `examples/fastapi_app.py`.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from aiostreamq import (
    BrokerError,
    Job,
    JobError,
    JobFailed,
    JobNotFound,
    JobState,
    Queue,
    UsageError,
    WaitTimeout,
)

queue = Queue(name="words")  # at $AIOSTREAMQ_URL
routes = web.RouteTableDef()

WAIT = 10.0  # seconds that a request waits for its job at most


@queue.task(timeout="30s", result_ttl="10m")
async def count_words(text: str) -> dict[str, int]:
    """Return how often each word is there."""
    words = text.lower().split()
    if not words:
        raise ValueError("there are no words in this text")
    return dict(Counter(words))


@routes.post("/jobs")
async def enqueue(request: web.Request) -> web.Response:
    """Enqueue a job and answer at once."""
    job = await count_words.enqueue(await read_text(request))
    return web.json_response({"id": job.id}, status=202, headers={"location": f"/jobs/{job.id}"})


@routes.post("/counts")
async def count(request: web.Request) -> web.Response:
    """Enqueue a job and answer with its result."""
    job = await count_words.enqueue(await read_text(request))
    try:
        return web.json_response(await job.result(timeout=WAIT))
    except JobFailed as error:
        return problem(422, error.message)
    except WaitTimeout:
        return problem(504, f"job {job.id} goes on: ask for it later")


@routes.get("/jobs/{job_id}")
async def read(request: web.Request) -> web.Response:
    """Tell where a job stands; its result, once it has ended."""
    job_id = request.match_info["job_id"]
    try:
        return web.json_response(await standing_of(queue.job(job_id)))
    except (JobNotFound, UsageError):  # unknown, expired, or no id at all
        return problem(404, f"there is no job {job_id}")


async def standing_of(job: Job[object]) -> dict[str, object]:
    """Look a job up; waits for nothing."""
    status = await job.status()
    if status in {JobState.QUEUED, JobState.RUNNING}:
        return {"id": job.id, "status": status}
    try:
        return {"id": job.id, "status": status, "value": await job}
    except JobNotFound:
        raise  # its result has expired just now
    except JobError as error:
        return {"id": job.id, "status": status, "error": str(error)}


async def read_text(request: web.Request) -> str:
    """Return the text that was sent as `{"text": ...}`."""
    try:
        text = cast("dict[str, object]", await request.json())["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise web.HTTPUnprocessableEntity(
            text=json.dumps({"detail": 'send {"text": "..."}'}), content_type="application/json"
        )
    return text


def problem(status: int, detail: str) -> web.Response:
    """Return an answer that says what is wrong."""
    return web.json_response({"detail": detail}, status=status)


@web.middleware
async def tell_redis_is_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say that trying again may help."""
    try:
        return await handler(request)
    except BrokerError as error:
        return problem(503, str(error))


async def keep_queue_open(_: web.Application) -> AsyncIterator[None]:
    """Keep the queue open as long as the server runs."""
    async with queue:
        yield


def make_app(_: Sequence[str] = ()) -> web.Application:
    """Return the application; `python -m aiohttp.web` hands its own arguments in."""
    app = web.Application(middlewares=[tell_redis_is_away])
    app.add_routes(routes)
    app.cleanup_ctx.append(keep_queue_open)
    return app
