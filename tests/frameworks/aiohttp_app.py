"""An application of aiohttp."""

from collections.abc import Sequence

from aiohttp import web

from aiostreamq import Queue
from aiostreamq.contrib.aiohttp import QUEUE, queue_context, send_job_events
from tests.frameworks.tasks import other, queue, workers

OTHER = web.AppKey("other", Queue)


async def enqueue(request: web.Request) -> web.StreamResponse:
    """Enqueue a call."""
    job = await request.app[QUEUE].enqueue(request.match_info["task"], *await request.json())
    return web.json_response({"id": job.id})


async def events(request: web.Request) -> web.StreamResponse:
    """Send the events of a job."""
    return await send_job_events(request.app[QUEUE].job(request.match_info["job_id"]), request)


async def names(request: web.Request) -> web.StreamResponse:
    """Return the names of the queues."""
    return web.json_response([request.app[QUEUE].name, request.app[OTHER].name])


def make_app(_: Sequence[str] = ()) -> web.Application:
    """Return the application."""
    app = web.Application()
    app.cleanup_ctx.append(queue_context(other, key=OTHER))
    app.cleanup_ctx.append(queue_context(queue, workers=workers))
    app.add_routes(
        [
            web.post("/jobs/{task}", enqueue),
            web.get("/jobs/{job_id}/events", events),
            web.get("/names", names),
        ]
    )
    return app
