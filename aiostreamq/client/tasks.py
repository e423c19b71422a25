"""`Tasks`: tasks and schedules that are declared without a queue, for queues to include."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.client.core import core_of
from aiostreamq.client.current_job import JOB
from aiostreamq.client.registration import check_again, make_spec, register, task_for
from aiostreamq.client.task_decorators import TaskDecorators
from aiostreamq.errors import UsageError
from aiostreamq.model.keys import checked_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from aiostreamq.client.call import Call, Using
    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.hooks import Hooks
    from aiostreamq.client.job import Job
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.resources.resources import Resources
    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.client.schedules.given_schedule import ScheduleOptions
    from aiostreamq.client.task import CallSender, Enqueuer, EnqueuingSession, Task
    from aiostreamq.model.options import TaskOptions
    from aiostreamq.model.task import Place, TaskSpec
    from aiostreamq.store.enqueue import IdWas


class Tasks(TaskDecorators):
    """Tasks and schedules without a queue, so that a module need not import the application.

    A queue takes them with `queue.include(tasks)`. Until then their functions can be called, and
    enqueueing raises UsageError. Several queues may include the same object.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., object]] = {}
        self._recipes: dict[str, _Recipe] = {}
        self._schedules: list[_Schedule] = []
        self._inclusions: list[_Inclusion] = []

    def __repr__(self) -> str:
        return f"<Tasks {', '.join(self._tasks) or 'none'}>"

    def _registered(self) -> "dict[str, Task[..., object]]":
        return self._tasks

    def _register(
        self,
        function: "Callable[..., object]",
        name: str | None,
        executor: "Place | None",
        options: "TaskOptions",
    ) -> "Task[..., object]":
        spec = make_spec(function, name, executor, options)
        task = task_for(spec, _Home(self, spec))
        if (earlier := self._tasks.get(spec.name)) is not None:
            check_again("this Tasks object", task, earlier)
        recipe = _Recipe(task, executor, options)
        for inclusion in self._inclusions:
            inclusion.add(spec.name, recipe)
        self._tasks[spec.name], self._recipes[spec.name] = task, recipe
        return task

    def _schedule(
        self,
        name: str | None,
        given: "Enqueuer[..., object] | Call[object]",
        options: "ScheduleOptions",
    ) -> None:
        task = self._tasks.get(given.spec.name)
        if task is None or task.spec is not given.spec:
            raise UsageError(
                f"task {given.spec.name!r} does not belong to these Tasks: schedule it with the "
                f"queue or the Tasks that it was registered with"
            )
        schedule = _Schedule(name or given.spec.name, given, options)
        for inclusion in self._inclusions:
            inclusion.add_schedule(schedule)
        self._schedules.append(schedule)

    def _include(self, queue: "QueueClient", prefix: str) -> None:
        core = core_of(queue)
        for one in self._inclusions:
            if one.core is core:
                if one.prefix == prefix:
                    return
                raise UsageError(
                    f"queue {queue.name!r} includes these Tasks already, with prefix "
                    f"{one.prefix!r}: a task has one name in a queue"
                )
        inclusion, before = _Inclusion(queue, core, prefix), dict(queue.tasks)
        try:
            for name, recipe in self._recipes.items():
                inclusion.add(name, recipe)
            for schedule in self._schedules:
                inclusion.add_schedule(schedule)
        except BaseException:
            inclusion.undo(before)
            raise
        self._inclusions.append(inclusion)

    def core_for(self, name: str) -> "QueueCore":
        """Return the queue that enqueues the task *name*; for the package itself.

        It is the only one that includes it, or inside a job the queue of the job.

        Raises:
            UsageError: There is none, or several.
        """
        cores = [one.core for one in self._inclusions]
        if len(cores) > 1 and (job := JOB.get()) is not None and (lender := job[4]) is not None:
            cores = [core for core in cores if core.name == lender.queue] or cores
        if len(cores) == 1:
            return cores[0]
        if not cores:
            raise UsageError(
                f"task {name!r} belongs to no queue yet: its Tasks must be included first, with "
                f"queue.include(tasks), where the queue is made"
            )
        names = ", ".join(repr(core.name) for core in cores)
        raise UsageError(
            f"task {name!r} belongs to several queues ({names}): choose one with "
            f"queue.enqueue(task, ...) or queue.task_of(task)"
        )


def include(tasks: Tasks, queue: "QueueClient", prefix: str) -> None:
    """Include *tasks* in *queue*, for `Queue.include`.

    Raises:
        UsageError: As `Queue.include`.
    """
    if not isinstance(cast("object", tasks), Tasks):
        kind = type(cast("object", tasks)).__name__
        raise UsageError(f"queue.include takes Tasks, not an object of type {kind!r}")
    if prefix:
        checked_name("prefix", prefix)
    tasks._include(queue, prefix)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # users include with the queue


class _Recipe(NamedTuple):
    """How a task was declared, to be registered again with each queue."""

    task: "Task[..., object]"
    executor: "Place | None"
    options: "TaskOptions"


class _Schedule(NamedTuple):
    """A declared schedule."""

    name: str
    given: "Enqueuer[..., object] | Call[object]"
    options: "ScheduleOptions"


class _Inclusion:
    """The tasks and schedules of one `Tasks` in one queue."""

    def __init__(self, queue: "QueueClient", core: "QueueCore", prefix: str) -> None:
        self.core = core
        self.prefix = prefix
        self._queue = queue
        self._scheduled: list[str] = []

    def add(self, name: str, recipe: _Recipe) -> None:
        """Register a task with the queue."""
        function, executor, options = recipe.task.__wrapped__, recipe.executor, recipe.options
        own = register(self._queue, function, self.prefix + name, executor, options)
        self.core.note_included(recipe.task.spec, own.spec)

    def add_schedule(self, schedule: _Schedule) -> None:
        """Declare a schedule with the queue."""
        name = self.prefix + schedule.name
        self.core.declared.add(name, schedule.given, schedule.options)
        self._scheduled.append(name)

    def undo(self, tasks: "dict[str, Task[..., object]]") -> None:
        """Take everything back; *tasks* are those of the queue before."""
        for name in self._scheduled:
            self.core.declared.discard(name)
        self._queue.tasks.clear()
        self._queue.tasks.update(tasks)


@dataclass(slots=True)
class _Home:
    """The way of a task to the queue that includes it."""

    tasks: Tasks
    spec: "TaskSpec"

    @property
    def hooks(self) -> "Hooks | None":
        """The hooks of the queue, which see the task as it is there; None if there are none."""
        core = self.tasks.core_for(self.spec.name)
        if core.hooks is None:
            return None
        return cast("Hooks", _HooksOfTask(core.hooks, core.own_spec(self.spec)))

    @property
    def resources(self) -> "Resources":
        """The things that tasks of the queue use besides their arguments."""
        return self.tasks.core_for(self.spec.name).resources

    def session(self) -> "EnqueuingSession":
        """Return the session of the queue.

        Raises:
            UsageError: There is no such queue, or several.
        """
        core = self.tasks.core_for(self.spec.name)
        session = core.session()
        return _Session(session.waiter, session.enqueuing, core.own_spec(self.spec))

    def name_of(self, spec: "TaskSpec") -> str:
        """Return the name of the task in the queue.

        Raises:
            UsageError: There is no such queue, or several.
        """
        return self.tasks.core_for(spec.name).own_spec(spec).name

    def own_spec(self, spec: "TaskSpec") -> "TaskSpec":
        """Return *spec*: whether the queue has the task of a callback is known at the enqueue."""
        return spec


@dataclass(slots=True)
class _HooksOfTask:
    """The hooks of a queue, for a task that has another name there."""

    hooks: "Hooks"
    spec: "TaskSpec"

    def applied(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> "Using":
        """Return the options of a job as it is enqueued there."""
        del spec
        return self.hooks.applied(self.spec, using, args, kwargs)


@dataclass(slots=True)
class _Session:
    """The session of a queue, which enqueues calls of a task under its name there."""

    waiter: "ResultWaiter"
    sender: "CallSender"
    spec: "TaskSpec"

    @property
    def enqueuing(self) -> "CallSender":
        """The sender of its calls."""
        return self

    async def know_time(self) -> None:
        """Make sure that Redis's time is known."""
        await self.sender.know_time()

    def put(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> "tuple[Job[object], asyncio.Future[IdWas]]":
        """Enqueue one call of the task."""
        del spec
        return self.sender.put(self.spec, using, args, kwargs)
