"""An application of Litestar."""

from typing import Any

from litestar import Litestar, Request, get, post
from litestar.di import NamedDependency
from litestar.response import Stream

from aiostreamq import Queue
from aiostreamq.contrib.litestar import QueuePlugin, job_events
from tests.frameworks.tasks import other, workers
from tests.frameworks.tasks import queue as own


@post("/jobs/{task:str}")
async def enqueue(task: str, data: list[Any], queue: NamedDependency[Queue]) -> dict[str, str]:
    """Enqueue a call."""
    job = await queue.enqueue(task, *data)
    return {"id": job.id}


@get("/jobs/{job_id:str}/events")
async def events(
    job_id: str, queue: NamedDependency[Queue], request: Request[Any, Any, Any]
) -> Stream:
    """Send the events of a job."""
    return await job_events(queue.job(job_id), request)


@get("/names")
async def names(queue: NamedDependency[Queue], second: NamedDependency[Queue]) -> list[str]:
    """Return the names of the queues."""
    return [queue.name, second.name]


app = Litestar(
    route_handlers=[enqueue, events, names],
    plugins=[QueuePlugin(other, dependency="second"), QueuePlugin(own, workers=workers)],
)
