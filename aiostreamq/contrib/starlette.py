"""Starlette, and FastAPI, which is built on it: the queue in the life of an application."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast, overload

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse

from aiostreamq.client.job import Job
from aiostreamq.contrib.sse import HEADERS, encode_events
from aiostreamq.errors import JobNotFound, UsageError
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.client.task import Enqueuer
    from aiostreamq.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
AppT = TypeVar("AppT")

#: The state that a lifespan gives to requests, or None.
State = Mapping[str, object] | None
#: An application's `lifespan`.
Lifespan = Callable[[AppT], AbstractAsyncContextManager[State]]

_STATE = "aiostreamq_queues"


@overload
def queue_lifespan(
    *queues: Queue, workers: "Callable[[], Iterable[Worker]] | None" = None
) -> "Callable[[object], AbstractAsyncContextManager[Mapping[str, object]]]": ...
@overload
def queue_lifespan(
    *queues: Queue,
    lifespan: "Lifespan[AppT]",
    workers: "Callable[[], Iterable[Worker]] | None" = None,
) -> "Callable[[AppT], AbstractAsyncContextManager[Mapping[str, object]]]": ...
def queue_lifespan(
    *queues: Queue,
    lifespan: "Lifespan[AppT] | None" = None,
    workers: "Callable[[], Iterable[Worker]] | None" = None,
) -> "Callable[[AppT], AbstractAsyncContextManager[Mapping[str, object]]]":
    """Return a lifespan that keeps queues open as long as the application runs.

    As in `FastAPI(lifespan=queue_lifespan(queue))`. Requests find the queue with `get_queue`.

    Args:
        *queues: The queues. `get_queue` gives the first.
        lifespan: The application's own lifespan, which runs inside: it can use the queues.
        workers: Makes workers that run in this process, beside the requests. They start last and
            drain first. Each process of the server has its own, so four processes are four
            workers.

    Raises:
        UsageError: No queue is given.

    The lifespan raises what `Queue.open` raises, and the server does not start then.
    """
    if not queues:
        raise UsageError("queue_lifespan() needs a queue: queue_lifespan(queue)")

    @asynccontextmanager
    async def run(app: AppT) -> AsyncGenerator[Mapping[str, object], None]:
        async with AsyncExitStack() as stack:
            for queue in queues:
                await stack.enter_async_context(queue)
            state = await stack.enter_async_context(lifespan(app)) if lifespan else None
            for worker in workers() if workers else ():
                await stack.enter_async_context(worker)
            yield {**(state or {}), _STATE: {queue.name: queue for queue in reversed(queues)}}

    return run


def get_queue(connection: HTTPConnection) -> Queue:
    """Return the first queue of `queue_lifespan`, for a request or a websocket.

    With FastAPI it is a dependency: `Annotated[Queue, Depends(get_queue)]`.

    Raises:
        UsageError: The application has no `queue_lifespan`, or its lifespan was not run.
    """
    *_, queue = _queues_of(connection).values()
    return queue


def queue_named(name: str) -> "Callable[[HTTPConnection], Queue]":
    """Return a function as `get_queue`, for the queue of this name.

    The function raises UsageError if `queue_lifespan` was given no such queue.
    """

    def get_named(connection: HTTPConnection) -> Queue:
        queues = _queues_of(connection)
        if name not in queues:
            raise UsageError(
                f"the application has no queue {name!r}, but {', '.join(map(repr, queues))}: "
                f"give it to queue_lifespan(...)"
            )
        return queues[name]

    return get_named


def _queues_of(connection: HTTPConnection) -> dict[str, Queue]:
    state = cast("Mapping[str, object]", connection.scope.get("state") or {})
    if _STATE not in state:
        raise UsageError(
            "the application has no queue: make it with lifespan=queue_lifespan(queue), and run "
            "its lifespan, as servers and TestClient do"
        )
    return cast("dict[str, Queue]", state[_STATE])


class JobEventsResponse(StreamingResponse):
    """A response that sends the events of a job to a browser's `EventSource`.

    `encode_events` says what is sent. If the client goes away, the sending ends, and the job runs
    on.
    """

    def __init__(self, job: Job[object], *, after: str | None = None) -> None:
        """Prepare to send.

        Args:
            job: The job. Whether it exists is not asked: `job_events` does that.
            after: The `Last-Event-ID` header of the request, if it has one.

        Raises:
            UsageError: *after* is not the id of an event.
        """
        super().__init__(encode_events(job, after), headers=HEADERS)


async def job_events(job: Job[object], connection: HTTPConnection) -> JobEventsResponse:
    """Return the response that sends the events of a job, continuing where the client was.

    Raises:
        HTTPException: 404 if there is no such job; 400 if `Last-Event-ID` is not the id of an
            event.
        BrokerError: Redis refused.
    """
    try:
        await job.status()
    except JobNotFound as error:
        raise HTTPException(404, f"there is no job {job.id}") from error
    try:
        return JobEventsResponse(job, after=connection.headers.get("last-event-id"))
    except UsageError as error:
        raise HTTPException(400, str(error)) from error


class EnqueueTask(BackgroundTask):
    """A background task that enqueues a call when the response has been sent.

    As in `JSONResponse(..., background=EnqueueTask(send_mail, "a@b.c"))`. If Redis is away at
    that moment, the job is lost and the server logs the error, as the client has its answer by
    then. `await task.enqueue(...)` before the response is the safe way.
    """

    def __init__(self, task: "Enqueuer[P, R]", /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Prepare the call.

        Raises:
            UsageError: The arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON.
        """
        write_call(task.spec, args, kwargs, {})  # so that a wrong call is an error of the request
        super().__init__(task.enqueue, *args, **kwargs)
