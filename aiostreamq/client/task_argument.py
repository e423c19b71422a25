"""Tasks that users name: as a task, as one with options, or by the name itself."""

from inspect import iscoroutine
from typing import Protocol, cast

from aiostreamq.client.call import Call
from aiostreamq.errors import UsageError


class Named(Protocol):
    """A task, or a task with options."""

    def name_in_queue(self) -> str:
        """Return the name of the task in its queue."""
        ...


def name_of(task: Named | str) -> str:
    """Return the name of *task*, given as a Task or by its name.

    Raises:
        UsageError: *task* is neither, or belongs to no queue or several.
    """
    if isinstance(task, str):
        return task
    try:
        return task.name_in_queue()
    except AttributeError:
        raise no_task(task) from None


def no_task(task: object) -> UsageError:
    """Return the error for something that is not a task: mostly the function of one."""
    # The message must not have its repr, which may contain arguments.
    if iscoroutine(task):
        task.close()  # or Python warns that it was never awaited
        return UsageError(
            f"this is a coroutine of {task.__qualname__}, not a task: give the task itself, "
            f"followed by its arguments, as in queue.enqueue(task, 1)"
        )
    if isinstance(task, Call):
        name = cast("Call[object]", task).spec.name
        return UsageError(
            f"this is a call of task {name!r}, not a task: use queue.enqueue_many([call]), or "
            f"queue.enqueue({name}, ...) with its arguments"
        )
    if callable(task) and not isinstance(task, type):
        named = f"function {getattr(task, '__name__', type(task).__name__)!r}"
    else:
        named = f"this {getattr(task, '__name__', None) or type(task).__name__}"
    return UsageError(
        f"{named} is not a task: give what @queue.task returned, or the name of a task"
    )
