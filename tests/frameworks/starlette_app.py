"""An application of Starlette."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aiostreamq.contrib.starlette import (
    EnqueueTask,
    get_queue,
    job_events,
    queue_lifespan,
    queue_named,
)
from tests.frameworks.tasks import add, other, queue, workers


async def enqueue(request: Request) -> Response:
    """Enqueue a call."""
    task: str = request.path_params["task"]
    job = await get_queue(request).enqueue(task, *await request.json())
    return JSONResponse({"id": job.id})


async def events(request: Request) -> Response:
    """Send the events of a job."""
    job_id: str = request.path_params["job_id"]
    return await job_events(get_queue(request).job(job_id), request)


async def later(request: Request) -> Response:
    """Enqueue one call after the response."""
    (number,) = await request.json()
    task = EnqueueTask(add.using(id=f"later-{number}"), number, 1)
    return JSONResponse({"count": 1}, background=task)


async def wrong(_: Request) -> Response:
    """Make a call that the task refuses."""
    task = EnqueueTask(add, 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the mistake
    return JSONResponse(None, background=task)


async def names(request: Request) -> Response:
    """Return the names of the queues."""
    second = queue_named("other")(request)
    return JSONResponse([get_queue(request).name, second.name])


app = Starlette(
    lifespan=queue_lifespan(queue, other, workers=workers),
    routes=[
        Route("/jobs/{task}", enqueue, methods=["POST"]),
        Route("/jobs/{job_id}/events", events),
        Route("/later", later, methods=["POST"]),
        Route("/wrong", wrong, methods=["POST"]),
        Route("/names", names),
    ],
)
