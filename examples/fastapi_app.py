"""Jobs behind a web API, with FastAPI.

    export AIOSTREAMQ_URL=redis://localhost:6379
    uvicorn examples.fastapi_app:app                       # the web server
    python -m aiostreamq run examples.fastapi_app:queue    # in another shell: the worker

    curl -d '{"text": "to be or not to be"}' -H 'content-type: application/json' localhost:8000/jobs
    curl localhost:8000/jobs/<the id that it answered>

The API describes itself at http://localhost:8000/docs.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

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

WAIT = 10.0  # seconds that a request waits for its job at most


@queue.task(timeout="30s", result_ttl="10m")
async def count_words(text: str) -> dict[str, int]:
    """Return how often each word is there."""
    words = text.lower().split()
    if not words:
        raise ValueError("there are no words in this text")
    return dict(Counter(words))


class Text(BaseModel):
    """What is sent."""

    text: str


class Accepted(BaseModel):
    """Where to ask later."""

    id: str


class Subscription(BaseModel):
    """Where a job stands, with what it returned or why it has not."""

    id: str
    status: JobState
    value: object = None
    error: str | None = None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Keep the queue open as long as the server runs."""
    async with queue:
        yield


app = FastAPI(title="Word counts", lifespan=lifespan)


@app.post("/jobs", status_code=202)
async def enqueue(text: Text, response: Response) -> Accepted:
    """Enqueue a job and answer at once."""
    job = await count_words.enqueue(text.text)
    response.headers["location"] = f"/jobs/{job.id}"
    return Accepted(id=job.id)


@app.post("/counts")
async def count(text: Text) -> dict[str, int]:
    """Enqueue a job and answer with its result."""
    job = await count_words.enqueue(text.text)
    try:
        return await job.result(timeout=WAIT)
    except JobFailed as error:
        raise HTTPException(422, error.message) from error
    except WaitTimeout as error:
        raise HTTPException(504, f"job {job.id} goes on: ask for it later") from error


@app.get("/jobs/{job_id}")
async def read(job_id: str) -> Subscription:
    """Tell where a job stands; its result, once it has ended."""
    try:
        return await standing_of(queue.job(job_id))
    except (JobNotFound, UsageError) as error:  # unknown, expired, or no id at all
        raise HTTPException(404, f"there is no job {job_id}") from error


async def standing_of(job: Job[object]) -> Subscription:
    """Look a job up; waits for nothing."""
    status = await job.status()
    if status in {JobState.QUEUED, JobState.RUNNING}:
        return Subscription(id=job.id, status=status)
    try:
        return Subscription(id=job.id, status=status, value=await job)
    except JobNotFound:
        raise  # its result has expired just now
    except JobError as error:
        return Subscription(id=job.id, status=status, error=str(error))


@app.exception_handler(BrokerError)
async def redis_is_away(_: Request, error: BrokerError) -> JSONResponse:
    """Say that trying again may help."""
    return JSONResponse({"detail": str(error)}, status_code=503)
