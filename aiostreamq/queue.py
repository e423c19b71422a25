"""`Queue`: registers tasks and enqueues their calls."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self, TypeVar, cast

from aiostreamq.client.extensible_queue import ExtensibleQueue
from aiostreamq.client.registration import register
from aiostreamq.client.resources.resource_queue import ResourceQueue
from aiostreamq.client.task import Enqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.client.task_decorators import TaskDecorators
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import checked_name
from aiostreamq.model.lanes import checked_lanes
from aiostreamq.model.options import (
    DEFAULT_LANE,
    Durability,
    QueuePolicy,
    checked_bound,
    checked_durability,
    checked_when_full,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal

    from aiostreamq.client.call import Call
    from aiostreamq.client.schedules.given_schedule import ScheduleOptions
    from aiostreamq.client.task import Task
    from aiostreamq.client.tasks import Tasks
    from aiostreamq.model.options import TaskOptions
    from aiostreamq.model.task import Place
    from aiostreamq.store.connection.address import RedisSource
    from aiostreamq.store.connection.connector import Connector

    WhenFull = Literal["raise", "wait"]

EnqueuerT = TypeVar("EnqueuerT", bound=Enqueuer[..., object])

# Bytes. Redis runs one command at a time, so a payload of megabytes makes all other
# clients wait. Send a reference to larger data.
MAX_PAYLOAD = 1024 * 1024

# Seconds that an enqueue retries while Redis is unreachable.
ENQUEUE_TIMEOUT = 10.0


class Queue(ExtensibleQueue, ResourceQueue, TaskDecorators):
    """A named queue in one Redis, and the tasks whose calls it takes.

    Nothing connects before the first use. Use it as `async with queue:`, or
    call `open` and `aclose`.
    """

    def __init__(
        self,
        url_or_client: "RedisSource" = None,
        *,
        name: str = "default",
        lanes: Iterable[str] | Mapping[str, int] = (DEFAULT_LANE,),
        strict_priority: bool = False,
        max_payload: int = MAX_PAYLOAD,
        enqueue_timeout: Duration = ENQUEUE_TIMEOUT,
        durability: Durability = "memory",
        max_length: int | None = None,
        max_bytes: int | None = None,
        when_full: "WhenFull" = "raise",
    ) -> None:
        """Describe a queue.

        Args:
            url_or_client: `redis://`, `rediss://`, `unix://` or `memory://`, as a string or
                as a pydantic URL; or a `redis.asyncio.Redis` client or its pool, whose
                connection settings are used. None takes `$AIOSTREAMQ_URL`, `$REDIS_URL`, or
                `redis://localhost:6379`.
            name: The queue's name. Queues of different names in one Redis are independent.
            lanes: The lanes that workers read, with their weights, as in
                `{"high": 8, "low": 1}`: while both have work, 8 of 9 jobs come from
                the first. Without weights, all weigh 1. Tasks may use any of them.
            strict_priority: Whether a lane is served only when all heavier ones are empty.
                A light lane may then wait for ever.
            max_payload: The longest JSON of a call, in bytes.
            enqueue_timeout: Seconds that an enqueue retries while Redis is unreachable,
                and waits for the confirmation that `durability` asks for.
            durability: The confirmation that an enqueue waits for: "memory", until Redis has the
                job; "replicated", until a replica has it too; "fsync", until it is on disk.
            max_length: The most jobs that a lane may hold, running ones included; None
                sets no limit. Delayed jobs and the ticks of schedules are not refused, and
                count only once they are due. Jobs that run again are not refused either.
            max_bytes: The most bytes of payloads that the jobs in a lane may have, about; None sets
                no limit. One job always finds room in an empty lane. Counted are the jobs that
                producers with this limit put into the lane, until they end or leave it.
            when_full: "raise" QueueFull if a lane is full, or "wait" for room.

        Raises:
            UsageError: A name or number is invalid, or *url_or_client* has another type.
                `open` checks the URL itself.
        """
        self._url_or_client = _checked(url_or_client)
        length, size = (
            checked_bound("max_length", max_length),
            checked_bound("max_bytes", max_bytes),
        )
        policy = QueuePolicy(
            max_payload,
            seconds("enqueue_timeout", enqueue_timeout),
            checked_durability(durability),
            length,
            checked_when_full(when_full, is_bounded=bool(length or size)),
            size,
        )
        super().__init__(
            self._connector,
            checked_name("queue", name),
            checked_lanes(lanes, strict_priority=strict_priority),
            policy,
        )

    def _connector(self) -> "Connector":
        # Imported at the first use: a program that never connects needs none of it.
        from aiostreamq.store.connection.connector import connector_for

        return connector_for(self._url_or_client)

    def use_url(self, url: str) -> None:
        """Connect to *url* from the next `open` on, in place of the one given before.

        Raises:
            UsageError: It is not a URL. `open` checks whether it leads to a Redis.
        """
        self._url_or_client = _checked(url)
        self._core.sessions.connector.forget()

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self.aclose()

    def include(self, tasks: "Tasks", *, prefix: str = "") -> None:
        """Make the tasks and schedules of *tasks* those of this queue, under *prefix* + name.

        Tasks that are declared later are added too. Including the same object again with the
        same prefix does nothing.

        Args:
            tasks: Tasks that were declared without a queue.
            prefix: The start of their names here, such as "billing.".

        Raises:
            UsageError: A name is taken or invalid, this queue does not have the lane of a task,
                or *tasks* is included here with another prefix. Then nothing is included.
        """
        # Imported at the first use, as most queues include nothing.
        from aiostreamq.client.tasks import include

        include(tasks, self, prefix)

    def task_of(self, task: EnqueuerT) -> EnqueuerT:
        """Return this queue's own task of one that was declared in `Tasks` and included here.

        It is for tasks that several queues include. Options given with `using` are kept. A task
        that is registered with this queue itself is returned as it is.

        Raises:
            UsageError: The task belongs to another queue, or *task* is not a task.
        """
        if not isinstance(cast("object", task), Enqueuer):
            raise no_task(task)
        spec = self._core.own_spec(task.spec)
        if spec is task.spec:
            return task
        return cast("EnqueuerT", task.of_queue(spec, self._core, self.tasks[spec.name]))

    def _register(
        self,
        function: Callable[..., object],
        name: str | None,
        executor: "Place | None",
        options: "TaskOptions",
    ) -> "Task[..., object]":
        return register(self, function, name, executor, options)

    def _schedule(
        self,
        name: str | None,
        given: "Enqueuer[..., object] | Call[object]",
        options: "ScheduleOptions",
    ) -> None:
        self._core.declared.add(name, given, options)

    def _registered(self) -> "dict[str, Task[..., object]]":
        return self.tasks


def _checked(source: "RedisSource") -> "RedisSource":
    if source is None or isinstance(source, str):
        return source  # a string is checked when the queue opens, which may never happen
    # Imported late: most queues use the environment's URL, or are never opened.
    from aiostreamq.store.connection.address import checked_source

    return checked_source(source)
