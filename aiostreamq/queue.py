"""The queue as users hold it."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Self, TypeVar, cast, overload

from aiostreamq.client.context import Context
from aiostreamq.client.queue_client import QueueClient
from aiostreamq.client.registration import register as register_task
from aiostreamq.client.task import AsyncTask, C_co, Call, Enqueuer, P, StreamTask, SyncTask, Task
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.executor_kind import Place
from aiostreamq.model.keys import checked_name
from aiostreamq.model.lanes import checked_lanes
from aiostreamq.model.options import DEFAULT_LANE, Durability, TaskOptions, checked_durability
from aiostreamq.model.queue_policy import QueuePolicy, checked_max_length, checked_when_full

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Protocol, Unpack

    from aiostreamq.model.schedules.cron import Zone
    from aiostreamq.model.schedules.definition import ScheduleRules
    from aiostreamq.store.connection.address import Where
    from aiostreamq.store.connection.connector import Connector

    WhenFull = Literal["raise", "wait"]

    class Registrar(Protocol):
        """What `@queue.task(...)` with options gives: it takes the function."""

        # An `async def` is a function too, so the overloads overlap: the first match is meant.
        @overload
        def __call__(  # pyright: ignore[reportOverlappingOverload]
            self, function: Callable[Concatenate[Context, P], AsyncIterable["C_co"]], /
        ) -> "StreamTask[Concatenate[Context, P], P, C_co]": ...
        @overload
        def __call__(
            self, function: Callable[P, AsyncIterable["C_co"]], /
        ) -> "StreamTask[P, P, C_co]": ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], Awaitable["R"]], /
        ) -> "AsyncTask[Concatenate[Context, P], P, R]": ...
        @overload
        def __call__(self, function: Callable[P, Awaitable["R"]], /) -> "AsyncTask[P, P, R]": ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], "R"], /
        ) -> "SyncTask[Concatenate[Context, P], P, R]": ...
        @overload
        def __call__(self, function: Callable[P, "R"], /) -> "SyncTask[P, P, R]": ...

    class Scheduler(Protocol):
        """What `@queue.cron(...)` and `@queue.every(...)` give: it takes a function or a task.

        A task may be one with options said, or a call of one.
        """

        @overload
        def __call__(self, task: "T", /) -> "T": ...
        @overload
        def __call__(  # pyright: ignore[reportOverlappingOverload]  # as in Registrar
            self, function: Callable[Concatenate[Context, P], AsyncIterable["C_co"]], /
        ) -> "StreamTask[Concatenate[Context, P], P, C_co]": ...
        @overload
        def __call__(
            self, function: Callable[P, AsyncIterable["C_co"]], /
        ) -> "StreamTask[P, P, C_co]": ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], Awaitable["R"]], /
        ) -> "AsyncTask[Concatenate[Context, P], P, R]": ...
        @overload
        def __call__(self, function: Callable[P, Awaitable["R"]], /) -> "AsyncTask[P, P, R]": ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], "R"], /
        ) -> "SyncTask[Concatenate[Context, P], P, R]": ...
        @overload
        def __call__(self, function: Callable[P, "R"], /) -> "SyncTask[P, P, R]": ...


R = TypeVar("R")
T = TypeVar("T", bound=Enqueuer[..., Any] | Call[Any])

# Redis serves everybody else between two commands: a payload of megabytes makes
# them all wait. Send a reference to larger data.
MAX_PAYLOAD = 1024 * 1024

# Seconds an enqueue goes on trying while Redis is away.
ENQUEUE_TIMEOUT = 10.0


class Queue(QueueClient):
    """Tasks, and the way of their jobs through one Redis.

    Nothing connects before the first use. Use it as `async with queue:`, or
    call `open` and `aclose`.
    """

    def __init__(
        self,
        url_or_client: "Where" = None,
        *,
        name: str = "default",
        lanes: Iterable[str] | Mapping[str, int] = (DEFAULT_LANE,),
        strict_priority: bool = False,
        max_payload: int = MAX_PAYLOAD,
        enqueue_timeout: Duration = ENQUEUE_TIMEOUT,
        durability: Durability = "memory",
        max_length: int | None = None,
        when_full: "WhenFull" = "raise",
    ) -> None:
        """Describe a queue.

        Args:
            url_or_client: `redis://`, `rediss://`, `unix://` or `memory://`, as a string or
                as a URL of pydantic; or a `redis.asyncio.Redis` or its pool, whose way of
                connecting is used. None takes `$AIOSTREAMQ_URL`, `$REDIS_URL`, or
                `redis://localhost:6379`.
            name: Queues of different names in one Redis know nothing of each other.
            lanes: The lanes that workers read, with their weights, as in
                `{"high": 8, "low": 1}`: while both have work, 8 of 9 jobs are of
                the first. Of names alone, all weigh 1. Tasks may name any of them.
            strict_priority: Whether a lane is served only when all weightier ones are empty;
                it may then wait for ever.
            max_payload: Bytes that the JSON of a call may have.
            enqueue_timeout: Seconds an enqueue goes on trying while Redis is away,
                and waits for the confirmation that `durability` asks for.
            durability: What an enqueue waits for: "memory", that Redis has the job;
                "replicated", that a replica has it too; "fsync", that it is on disk.
            max_length: Jobs that a lane may hold, those that run included; None is
                any number. Jobs for later and the ticks of schedules are not refused,
                nor counted before they are due; nor are jobs that run again.
            when_full: "raise" QueueFull where there is no room, or "wait" for it.

        Raises:
            UsageError: A name or a number is invalid, or *url_or_client* is none of these.
                What is wrong with a URL, `open` says.
        """
        self._url_or_client = _checked(url_or_client)
        bound = checked_max_length(max_length)
        terms = QueuePolicy(
            max_payload,
            seconds("enqueue_timeout", enqueue_timeout),
            checked_durability(durability),
            bound,
            checked_when_full(when_full, bound),
        )
        super().__init__(
            self._connector,
            checked_name("queue", name),
            checked_lanes(lanes, strict_priority=strict_priority),
            terms,
        )

    def _connector(self) -> "Connector":
        # Imported with the first use: producers that never connect need none of it.
        from aiostreamq.store.connection.connector import connector_for

        return connector_for(self._url_or_client)

    def use_url(self, url: str) -> None:
        """Connect to *url* from the next `open` on, whatever was given before.

        Raises:
            UsageError: It is no URL. Whether it is one of a Redis, `open` says.
        """
        self._url_or_client = _checked(url)
        self.sessions.forget_place()

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
        self, function: Callable[Concatenate[Context, P], AsyncIterable[C_co]], /
    ) -> StreamTask[Concatenate[Context, P], P, C_co]: ...
    @overload
    def task(self, function: Callable[P, AsyncIterable[C_co]], /) -> StreamTask[P, P, C_co]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Awaitable[R]], /
    ) -> AsyncTask[Concatenate[Context, P], P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> AsyncTask[P, P, R]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], R], /
    ) -> SyncTask[Concatenate[Context, P], P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        executor: Place | None = None,
        **options: "Unpack[TaskOptions]",
    ) -> "Registrar": ...
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
            name: What the task is called in the queue; its `__name__` by default.
            executor: Where workers run a `def`: in a "thread" (by default), or in a
                "process" of its own, for work that keeps a processor busy.
            **options: `timeout` (seconds a run may take, none by default),
                `result_ttl` (seconds the result is kept, an hour by default; 0
                keeps none), `lane`, `retry`, `durability` (the queue's own by default).

        Raises:
            UsageError: The name is taken, an option cannot be meant, a parameter
                is of a type that cannot travel, or the function cannot run where
                `executor` says.
        """

        def register(function: Callable[..., object]) -> Task[..., object]:
            return register_task(self, function, name, executor, options)

        return register if function is None else register(function)

    def cron(
        self,
        expression: str,
        *,
        name: str | None = None,
        tz: "Zone | None" = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> "Scheduler":
        """Have a function or a task enqueued whenever a cron expression says so.

        A function becomes a task, with the options of `@queue.task` as they are by default.
        Of a task, `task.using(...)` and `task.bind(...)` are taken too.
        The schedule is fired by workers whose code has it: it stops when it is removed.

        Args:
            expression: Minute, hour, day, month and day of the week; with seconds before
                them; or an alias such as "@daily".
            name: Of the schedule; the task's by default.
            tz: The time zone that is meant, such as "Europe/Madrid" or ZoneInfo("Europe/Madrid"),
                or a fixed offset, such as "+02:00" or datetime.timezone.utc; UTC by default.
            args: Positional arguments of its jobs.
            kwargs: The others.
            **rules: `overlap`, `catch_up`, `window`, `jitter`, `start`, `end`, `max_runs`, as in
                `queue.schedules.create`.

        Raises:
            UsageError: The name is taken, or something cannot be meant.
        """
        self.schedules.check(cron=expression, tz=tz, rules=rules)

        def declare(task: Enqueuer[..., object] | Call[object]) -> None:
            self.schedules.declare(name, task, args, kwargs, cron=expression, tz=tz, rules=rules)

        return cast("Scheduler", self._scheduler(declare))

    def every(
        self,
        interval: Duration,
        *,
        name: str | None = None,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **rules: "Unpack[ScheduleRules]",
    ) -> "Scheduler":
        """Have a function or a task enqueued at a fixed interval.

        Args:
            interval: Seconds (or "30s", or a timedelta) from one tick to the next, 0.1 or more;
                counted from `start`, or from 1970.
            name: Of the schedule; the task's by default.
            args: Positional arguments of its jobs.
            kwargs: The others.
            **rules: As in `cron`.

        Raises:
            UsageError: The name is taken, or something cannot be meant.
        """
        self.schedules.check(every=interval, rules=rules)

        def declare(task: Enqueuer[..., object] | Call[object]) -> None:
            self.schedules.declare(name, task, args, kwargs, every=interval, rules=rules)

        return cast("Scheduler", self._scheduler(declare))

    def _scheduler(
        self, declare: "Callable[[Enqueuer[..., object] | Call[object]], None]"
    ) -> Callable[[Callable[..., object]], object]:
        def schedule(function: Callable[..., object]) -> object:
            if isinstance(function, Enqueuer | Call):
                given = cast("Enqueuer[..., object] | Call[object]", function)
                declare(given)
                return given
            before = dict(self.tasks)
            task = register_task(self, function, None, None, {})
            try:
                declare(task)
            except BaseException:
                # A decorator that raised has done nothing.
                del self.tasks[task.name]
                self.tasks.update(before)
                raise
            return task

        return schedule


def _checked(where: "Where") -> "Where":
    if where is None or isinstance(where, str):
        return where  # what a string says is judged when the queue opens: it may never
    # Imported where it is needed: most queues take the environment's, or are never opened.
    from aiostreamq.store.connection.address import checked_where

    return checked_where(where)
