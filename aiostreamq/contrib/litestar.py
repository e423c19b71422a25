"""Litestar: a plugin with the queue, and the events of a job as a response."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ClientException, NotFoundException
from litestar.plugins import InitPlugin
from litestar.response import Stream

from aiostreamq.client.job import Job
from aiostreamq.contrib.sse import HEADERS, encode_events
from aiostreamq.errors import JobNotFound, UsageError
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.worker.worker import Worker


class QueuePlugin(InitPlugin):
    """Keeps a queue open as long as the application runs, and gives it to handlers.

    As in `Litestar(..., plugins=[QueuePlugin(queue)])`. A handler gets the queue
    with a parameter `queue: NamedDependency[Queue]`.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        dependency: str = "queue",
        workers: "Callable[[], Iterable[Worker]] | None" = None,
    ) -> None:
        """Prepare.

        Args:
            queue: The queue.
            dependency: The name of the parameter that gets it.
            workers: Makes workers that run in this process, beside the requests. They drain first.
        """
        self.queue = queue
        self.dependency = dependency
        self._workers = workers

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the queue to an application."""
        app_config.lifespan = [*app_config.lifespan, self._lifespan]  # pyright: ignore[reportUnknownMemberType]  # partly untyped there
        app_config.dependencies[self.dependency] = Provide(self._provide, sync_to_thread=False)
        app_config.signature_namespace["Queue"] = Queue
        return app_config

    def _provide(self) -> Queue:
        return self.queue

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.queue)
            for worker in self._workers() if self._workers else ():
                await stack.enter_async_context(worker)
            yield


async def job_events(job: Job[object], request: "Request[Any, Any, Any]") -> Stream:
    """Return the response that sends the events of a job, continuing where the client was.

    `aiostreamq.contrib.sse.encode_events` says what is sent. If the client goes away, the sending
    ends, and the job runs on.

    Raises:
        NotFoundException: There is no such job.
        ClientException: `Last-Event-ID` is not the id of an event.
        BrokerError: Redis refused.
    """
    try:
        await job.status()
    except JobNotFound as error:
        raise NotFoundException(f"there is no job {job.id}") from error
    try:
        events = encode_events(job, request.headers.get("last-event-id"))
    except UsageError as error:
        raise ClientException(str(error)) from error
    headers = {name: value for name, value in HEADERS.items() if name != "content-type"}
    return Stream(events, media_type=HEADERS["content-type"], headers=headers)
