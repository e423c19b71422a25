"""An application of FastAPI."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response

from aiostreamq import Queue
from aiostreamq.contrib.fastapi import (
    JobTasks,
    QueueDep,
    job_events,
    queue_lifespan,
    queue_named,
)
from tests.frameworks.tasks import add, other, queue, workers


class Own(TypedDict):
    """The state of the application's own lifespan."""

    greeting: str


@asynccontextmanager
async def own(_: FastAPI) -> AsyncGenerator[Own, None]:
    """Use the queue, which is open by now."""
    await queue.info()
    yield {"greeting": "hello"}


app = FastAPI(lifespan=queue_lifespan(queue, other, lifespan=own, workers=workers))
mounted = FastAPI()
app.mount("/mounted", mounted)


@app.post("/jobs/{task}")
@mounted.post("/jobs/{task}")
async def enqueue(task: str, arguments: list[object], found: QueueDep) -> dict[str, str]:
    """Enqueue a call."""
    job = await found.enqueue(task, *arguments)
    return {"id": job.id}


@app.get("/jobs/{job_id}/events")
async def events(job_id: str, found: QueueDep, request: Request) -> Response:
    """Send the events of a job."""
    return await job_events(found.job(job_id), request)


@app.post("/later")
async def later(numbers: list[int], jobs: Annotated[JobTasks, Depends()]) -> dict[str, int]:
    """Enqueue after the response, as many as there are numbers."""
    for number in numbers:
        jobs.add_task(add.using(id=f"later-{number}"), number, 1)
    return {"count": len(numbers)}


@app.post("/wrong")
async def wrong(jobs: Annotated[JobTasks, Depends()]) -> None:
    """Add a call that the task refuses."""
    jobs.add_task(add, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the mistake


@app.get("/names")
async def names(
    found: QueueDep,
    second: Annotated[Queue, Depends(queue_named("other"))],
    request: Request,
) -> list[str]:
    """Return what the dependencies give."""
    return [found.name, second.name, request.state.greeting]


@app.get("/unknown")
async def unknown(_: Annotated[Queue, Depends(queue_named("unknown"))]) -> None:
    """Ask for a queue that the application does not have."""
