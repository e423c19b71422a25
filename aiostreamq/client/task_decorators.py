"""The decorators of tasks and schedules, for queues and for tasks without a queue."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from aiostreamq.client.call import Call
from aiostreamq.client.decorators import ScheduleDecorator, TaskDecorator, TaskRegistrar
from aiostreamq.client.task import Enqueuer, Task

if TYPE_CHECKING:
    from typing import Unpack

    from aiostreamq.client.schedules.given_schedule import ScheduleOptions
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.options import TaskOptions
    from aiostreamq.model.schedules.definition import ScheduleRules
    from aiostreamq.model.schedules.zones import Zone
    from aiostreamq.model.task import Place


class TaskDecorators:
    """The decorators of tasks and schedules, which a `Queue` and `Tasks` have in common."""

    @property
    def task(self) -> TaskRegistrar:
        """The decorator that registers a function as a task: `@queue.task` or `@queue.task(...)`.

        Args:
            function: `async def`, with `yield` to stream, or `def`. It stays callable as it is.
            name: The task's name in the queue; the function's `__name__` by default.
            executor: Where workers run a `def`: in a "thread" (the default), or in a
                separate "process", for work that keeps a processor busy.
            **options: `timeout` (seconds that a run may take, unlimited by default),
                `result_ttl` (seconds that the result is kept, an hour by default; 0
                keeps none), `lane`, `retry`, `durability` (the queue's by default), `headers`,
                `tags`, `on_success` and `on_failure` (calls that are enqueued when a job is done,
                or has failed), `unique`, `throttle`, `debounce` and `keep_latest` (whether another
                job of the same key keeps a job from the queue, as in `Unique(key="url")`), `limits`
                (how many jobs run at once, or start in a time) and `ordered` (the argument whose
                jobs run one after the other, as in `ordered="account"`).

        Raises:
            UsageError: The name is taken, an option is invalid, the type of a parameter
                cannot be sent as JSON, or *executor* cannot run the function.
        """
        return TaskRegistrar(self._task)

    def _task(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        name: str | None = None,
        executor: "Place | None" = None,
        **options: "Unpack[TaskOptions]",
    ) -> object:
        def register(function: Callable[..., object]) -> Task[..., object]:
            return self._register(function, name, executor, options)

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
        interval: "Duration",
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
        # Imported at the first use: it imports cronsim and the time zones.
        from aiostreamq.client.schedules.given_schedule import check_times

        check_times(options)

        def schedule(function: Callable[..., object]) -> object:
            if isinstance(function, Enqueuer | Call):
                given = cast("Enqueuer[..., object] | Call[object]", function)
                self._schedule(name, given, options)
                return given
            earlier = dict(self._registered())
            task = self._register(function, None, None, {})
            try:
                self._schedule(name, task, options)
            except BaseException:
                # A decorator that raises must leave nothing behind.
                now = self._registered()
                del now[task.name]
                now.update(earlier)
                raise
            return task

        return ScheduleDecorator(schedule)

    def _registered(self) -> "dict[str, Task[..., object]]":
        """Return the registered tasks, by name."""
        raise NotImplementedError

    def _register(
        self,
        function: Callable[..., object],
        name: str | None,
        executor: "Place | None",
        options: "TaskOptions",
    ) -> Task[..., object]:
        """Register a function.

        Raises:
            UsageError: As `task`.
        """
        raise NotImplementedError

    def _schedule(
        self,
        name: str | None,
        given: "Enqueuer[..., object] | Call[object]",
        options: "ScheduleOptions",
    ) -> None:
        """Declare a schedule; *name* is that of its task by default.

        Raises:
            UsageError: The name is taken, or an argument is invalid.
        """
        raise NotImplementedError
