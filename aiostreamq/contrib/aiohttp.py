"""aiohttp: the queue in the life of an application, and the events of a job as a response."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from aiohttp import web

from aiostreamq.client.job import Job
from aiostreamq.contrib.sse import HEADERS, encode_events
from aiostreamq.errors import JobNotFound, UsageError
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.worker.worker import Worker

#: The key of the queue in an application: `request.app[QUEUE]`.
QUEUE = web.AppKey("aiostreamq_queue", Queue)


def queue_context(
    queue: Queue,
    *,
    key: "web.AppKey[Queue]" = QUEUE,
    workers: "Callable[[], Iterable[Worker]] | None" = None,
) -> "Callable[[web.Application], AsyncGenerator[None, None]]":
    """Return a context that keeps a queue open as long as the application runs.

    As in `app.cleanup_ctx.append(queue_context(queue))`. Handlers find it as `request.app[QUEUE]`.

    Args:
        queue: The queue.
        key: The key of the queue in the application, if it has several queues.
        workers: Makes workers that run in this process, beside the requests. They drain first.

    The context raises what `Queue.open` raises, and the server does not start then.
    """

    async def run(app: web.Application) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            app[key] = await stack.enter_async_context(queue)
            for worker in workers() if workers else ():
                await stack.enter_async_context(worker)
            yield

    return run


async def send_job_events(job: Job[object], request: web.BaseRequest) -> web.StreamResponse:
    """Send the events of a job to a browser's `EventSource`, continuing where the client was.

    `aiostreamq.contrib.sse.encode_events` says what is sent. If the client goes away, the sending
    ends, and the job runs on.

    Returns:
        The response, to be returned by the handler.

    Raises:
        HTTPNotFound: There is no such job.
        HTTPBadRequest: `Last-Event-ID` is not the id of an event.
        BrokerError: Redis refused.

    Cancelling is safe.
    """
    try:
        await job.status()
    except JobNotFound as error:
        raise web.HTTPNotFound(text=f"there is no job {job.id}") from error
    try:
        events = encode_events(job, request.headers.get("last-event-id"))
    except UsageError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    response = web.StreamResponse(headers=HEADERS)
    async with aclosing(events):
        await response.prepare(request)
        async for event in events:
            await response.write(event)
    return response
