"""`Queue`: registers tasks and enqueues their calls."""

from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Any, Concatenate, Self, TypeVar, cast, overload

from aiostreamq.client.call import C_co, Call
from aiostreamq.client.context import Context
from aiostreamq.client.decorators import ScheduleDecorator, TaskDecorator
from aiostreamq.client.extensible_queue import ExtensibleQueue
from aiostreamq.client.registration import register as register_task
from aiostreamq.client.resources.resource_queue import ResourceQueue
from aiostreamq.client.task import AsyncTask, Enqueuer, P, StreamTask, SyncTask, Task
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import checked_name
from aiostreamq.model.lanes import checked_lanes
from aiostreamq.model.options import (
    DEFAULT_LANE,
    Durability,
    QueuePolicy,
    TaskOptions,
    checked_bound,
    checked_durability,
    checked_when_full,
)
from aiostreamq.model.task import Place

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Unpack

    from aiostreamq.client.schedules.given_schedule import ScheduleOptions
    from aiostreamq.model.schedules.definition import ScheduleRules
    from aiostreamq.model.schedules.zones import Zone
    from aiostreamq.store.connection.address import RedisSource
    from aiostreamq.store.connection.connector import Connector

    WhenFull = Literal["raise", "wait"]

R = TypeVar("R")

# Bytes. Redis runs one command at a time, so a payload of megabytes makes all other
# clients wait. Send a reference to larger data.
MAX_PAYLOAD = 1024 * 1024

# Seconds that an enqueue retries while Redis is unreachable.
ENQUEUE_TIMEOUT = 10.0


class Queue(ExtensibleQueue, ResourceQueue):
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

    @overload
    def task(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[Concatenate[Context[Any], P], AsyncIterable[C_co]], /
    ) -> StreamTask[Concatenate[Context[Any], P], P, C_co]: ...
    @overload
    def task(self, function: Callable[P, AsyncIterable[C_co]], /) -> StreamTask[P, P, C_co]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context[Any], P], Awaitable[R]], /
    ) -> AsyncTask[Concatenate[Context[Any], P], P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> AsyncTask[P, P, R]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context[Any], P], R], /
    ) -> SyncTask[Concatenate[Context[Any], P], P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        executor: Place | None = None,
        **options: "Unpack[TaskOptions]",
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Callable[..., object] | None = None,
        *,
        name: str | None = None,
        executor: Place | None = None,
        **options: "Unpack[TaskOptions]",
    ) -> object:
        """Register a function as a task, as `@queue.task` or `@queue.task(...)`.

        Args:
            function: `async def`, with `yield` to stream, or `def`. It stays callable as it is.
            name: The task's name in the queue; the function's `__name__` by default.
            executor: Where workers run a `def`: in a "thread" (the default), or in a
                separate "process", for work that keeps a processor busy.
            **options: `timeout` (seconds that a run may take, unlimited by default),
                `result_ttl` (seconds that the result is kept, an hour by default; 0
                keeps none), `lane`, `retry`, `durability` (the queue's by default).

        Raises:
            UsageError: The name is taken, an option is invalid, the type of a parameter
                cannot be sent as JSON, or *executor* cannot run the function.
        """

        def register(function: Callable[..., object]) -> Task[..., object]:
            return register_task(self, function, name, executor, options)

        return TaskDecorator(register) if function is None else register(function)

    def cron(
        self,
        expression: str,
        *,
        name: str | None = None,
        tz: "Zone | None" = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> ScheduleDecorator:
        """Return a decorator that enqueues a function or a task at the times of a cron expression.

        A function becomes a task with default options. A task may also be given as
        `task.using(...)` or `task.bind(...)`. Workers whose code contains the schedule fire it:
        it stops when the code is removed.

        Args:
            expression: Minute, hour, day, month and day of the week, optionally with seconds
                before them; or an alias such as "@daily".
            name: The schedule's name; the task's name by default.
            tz: The time zone of the expression, such as "Europe/Madrid" or
                ZoneInfo("Europe/Madrid"), or a fixed offset, such as "+02:00" or
                datetime.timezone.utc; UTC by default.
            args: The positional arguments of its jobs.
            kwargs: The keyword arguments of its jobs.
            **rules: `overlap`, `catch_up`, `window`, `jitter`, `start`, `end`, `max_runs`, as in
                `queue.schedules.create`.

        Raises:
            UsageError: The name is taken, or an argument is invalid.
        """
        return self._scheduler(
            name, {"args": args, "kwargs": kwargs, "cron": expression, "tz": tz, **rules}
        )

    def every(
        self,
        interval: Duration,
        *,
        name: str | None = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> ScheduleDecorator:
        """Return a decorator that enqueues a function or a task at a fixed interval.

        Args:
            interval: Seconds (or "30s", or a timedelta) from one tick to the next, at least 0.1;
                counted from `start`, or from 1970.
            name: The schedule's name; the task's name by default.
            args: The positional arguments of its jobs.
            kwargs: The keyword arguments of its jobs.
            **rules: As in `cron`.

        Raises:
            UsageError: The name is taken, or an argument is invalid.
        """
        return self._scheduler(name, {"args": args, "kwargs": kwargs, "every": interval, **rules})

    def _scheduler(self, name: str | None, options: "ScheduleOptions") -> ScheduleDecorator:
        declared = self._core.declared
        declared.check(options)

        def schedule(function: Callable[..., object]) -> object:
            if isinstance(function, Enqueuer | Call):
                given = cast("Enqueuer[..., object] | Call[object]", function)
                declared.add(name, given, options)
                return given
            before = dict(self.tasks)
            task = register_task(self, function, None, None, {})
            try:
                declared.add(name, task, options)
            except BaseException:
                # A decorator that raises must leave nothing behind.
                del self.tasks[task.name]
                self.tasks.update(before)
                raise
            return task

        return ScheduleDecorator(schedule)


def _checked(source: "RedisSource") -> "RedisSource":
    if source is None or isinstance(source, str):
        return source  # a string is checked when the queue opens, which may never happen
    # Imported late: most queues use the environment's URL, or are never opened.
    from aiostreamq.store.connection.address import checked_source

    return checked_source(source)
