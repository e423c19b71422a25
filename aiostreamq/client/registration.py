"""Registration: `@queue.task` turns a function into a task."""

from typing import TYPE_CHECKING

from aiostreamq.client.context import Context
from aiostreamq.client.core import core_of
from aiostreamq.client.task import AsyncTask, StreamTask, Submitter, SyncTask, Task
from aiostreamq.errors import UsageError
from aiostreamq.model.functions.callables import (
    Function,
    Origin,
    checked_function,
    name_for,
    refuse_unbound,
)
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.keys import checked_name
from aiostreamq.model.options import Options, TaskOptions
from aiostreamq.model.task import Place, TaskSpec, checked_executor
from aiostreamq.model.unknown_options import unknown_option

if TYPE_CHECKING:
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.functions.dependency_plan import Plan

#: The options of `@queue.task(...)`.
TASK_OPTIONS = ("name", "executor", *TaskOptions.__annotations__)


def function_of(given: object) -> Function:
    """Return the function to register. If a task is given, of any queue, it is that task's.

    Raises:
        UsageError: *given* cannot be a task.
    """
    while isinstance(given, Task):
        given = given.__wrapped__
    return checked_function(given)


def register(
    queue: "QueueClient",
    given: object,
    name: str | None,
    executor: Place | None,
    given_options: TaskOptions,
) -> Task[..., object]:
    """Register what `@queue.task` was given as a task of *queue*.

    Raises:
        UsageError: It cannot be a task, its name is taken, or an option is invalid.
    """
    spec = make_spec(given, name, executor, given_options)
    if spec.options.lane not in queue.lanes:
        raise UsageError(
            f"task {spec.name!r} is for lane {spec.options.lane!r}, which queue {queue.name!r} "
            f"does not have: name it in Queue(lanes=[...])"
        )
    if spec.options.limits:
        from aiostreamq.model.functions.limit_keys import check_shared

        check_shared(spec, (one.spec for one in queue.tasks.values()))
        if core_of(queue).resources.has_workers:
            raise UsageError(
                f"task {spec.name!r} has limits, and a worker of queue {queue.name!r} runs already "
                f"and does not know of them: declare the task before the worker starts"
            )
    if not spec.options.on_success is spec.options.on_failure is None:
        _check_callbacks(queue, spec)
    if spec.pool == "process":
        for lifespan in core_of(queue).lifespans:
            lifespan.place()  # refuses one that a process cannot import
    if spec.signature is not None and spec.signature.plan is not None:
        _check_lifespans(queue, spec.name, spec.signature.plan)
    task = task_for(spec, core_of(queue))
    earlier = queue.tasks.get(spec.name)
    if earlier is not None:
        check_again(f"queue {queue.name!r}", task, earlier)
    queue.tasks[spec.name] = task
    return task


def make_spec(
    given: object, name: str | None, executor: Place | None, given_options: TaskOptions
) -> TaskSpec:
    """Return the spec of a task, before it belongs to a queue.

    Raises:
        UsageError: It cannot be a task, or an option is invalid.
    """
    function = function_of(given)
    called = checked_name("task", name or name_for(function))
    if unknown := given_options.keys() - TaskOptions.__annotations__.keys():
        raise unknown_option("@queue.task", min(unknown), TASK_OPTIONS)
    options = Options().merged(given_options)
    if not options.on_success is options.on_failure is None:
        from aiostreamq.client.callbacks import check_callbacks

        check_callbacks(options, None)
    signature = TaskSignature(called, function, Context)
    refuse_unbound(called, function, signature.whole)
    if options.unique is not None:
        from aiostreamq.model.functions.call_key import check_rule

        check_rule(options.unique, called, signature)
    if options.limits:
        from aiostreamq.model.functions.limit_keys import check_limits, check_order

        check_limits(options.limits, called, signature)
        check_order(options, called)
    is_async, is_stream = signature.style == "awaited", signature.style == "streamed"
    place = checked_executor(called, executor, function, is_async=is_async or is_stream)
    return TaskSpec(called, options, function, signature, is_async, place, is_stream)


def _check_callbacks(queue: "QueueClient", spec: TaskSpec) -> None:
    """Raise UsageError if a callback of a task is not for its queue."""
    # Imported at the first use: most tasks have none.
    from aiostreamq.client.callbacks import check_callbacks

    check_callbacks(spec.options, core_of(queue))


def _check_lifespans(queue: "QueueClient", task: str, plan: "Plan") -> None:
    """Raise UsageError if a task depends on a lifespan that is not one of its queue."""
    for step in plan.steps:
        if step.style == "state" and step.key not in core_of(queue).lifespans:
            raise UsageError(
                f"task {task!r} depends on lifespan {step.name!r}, which is not one of queue "
                f"{queue.name!r}: declare it with @queue.lifespan of this queue, before the task"
            )


def task_for(spec: TaskSpec, submitter: Submitter) -> Task[..., object]:
    """Return the task of *spec*, which *submitter* enqueues."""
    return _kind_of(spec)(spec, submitter)


def check_again(owner: str, task: Task[..., object], earlier: Task[..., object]) -> None:
    """Raise UsageError unless *task* is a new version of *earlier*, from changed source."""
    origin, before = Origin.of(task.__wrapped__), earlier.origin
    if not origin.is_again(before):
        raise UsageError(
            f"{owner} already has a task {task.name!r}, defined at {before}: "
            f"give the one at {origin} another name with @queue.task(name=...)"
        )
    # Imported at the first use: importing logging takes as long as half of aiostreamq.
    from aiostreamq.logs import get_logger

    get_logger("aiostreamq").info(
        "task %r is defined again and replaces the earlier definition", task.name
    )


def _kind_of(spec: TaskSpec) -> "type[Task[..., object]]":
    if spec.is_stream:
        return StreamTask[..., ..., object]
    return (AsyncTask if spec.is_async else SyncTask)[..., ..., object]
