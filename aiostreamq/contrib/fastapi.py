"""FastAPI: the queue as a dependency, and jobs in place of background tasks.

The rest is that of `aiostreamq.contrib.starlette`, and can be imported from here too.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

from fastapi import BackgroundTasks, Depends

from aiostreamq.contrib.starlette import (
    EnqueueTask,
    JobEventsResponse,
    get_queue,
    job_events,
    queue_lifespan,
    queue_named,
)
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.client.task import Enqueuer

__all__ = [
    "EnqueueTask",
    "JobEventsResponse",
    "JobTasks",
    "QueueDep",
    "get_queue",
    "job_events",
    "queue_lifespan",
    "queue_named",
]

P = ParamSpec("P")
R = TypeVar("R")

#: The annotation of a parameter that gets the first queue of `queue_lifespan`.
QueueDep = Annotated[Queue, Depends(get_queue)]


class JobTasks:
    """Calls that are enqueued together when the response has been sent.

    For FastAPI, in place of its `BackgroundTasks`: with `jobs: Annotated[JobTasks, Depends()]` an
    endpoint calls `jobs.add_task(send_mail, "a@b.c")`. As for `EnqueueTask`, they are lost if
    Redis is away at that moment.
    """

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background
        self._tasks: list[EnqueueTask] = []

    def add_task(self, task: "Enqueuer[P, R]", /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a call.

        Raises:
            UsageError: The arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON.
        """
        added = EnqueueTask(task, *args, **kwargs)
        if not self._tasks:
            self._background.add_task(self._enqueue_all)
        self._tasks.append(added)

    async def _enqueue_all(self) -> None:
        # At once: they share a round trip. Each is tried, whatever becomes of the others.
        ends = await asyncio.gather(*(task() for task in self._tasks), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
