"""The asyncio tasks of the package, which run beside those of the user's code in one loop."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.untrusted import name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class OwnTask(asyncio.Task[T]):
    """A task of the package. It ignores a cancellation by the code of another job.

    Code of a job that cancels all tasks of the loop (`asyncio.all_tasks`) must not end the
    worker and the other jobs.
    """

    is_job = False  #: whether it runs the user's code

    def end(self) -> bool:
        """Cancel it, even if the code of a job asks."""
        return super().cancel()

    def cancel(self, msg: object = None) -> bool:
        """Cancel it, unless the code of another job asks."""
        try:
            asking = asyncio.current_task()
        except RuntimeError:  # the loop does not run, and its owner ends it
            asking = None
        if isinstance(asking, OwnTask) and asking.is_job and asking is not self:
            return False
        return super().cancel(msg)


class JobTask(OwnTask[None]):
    """The task in which a job runs."""

    is_job = True


def spawn(coroutine: "Coroutine[Any, Any, T]", name: str | None = None) -> OwnTask[T]:
    """Start *coroutine* in the next turn of the running loop.

    It bypasses the task factory of the loop, which `asyncio.create_task` uses: that may be the
    program's own, and make tasks of another kind.
    """
    return OwnTask(coroutine, loop=asyncio.get_running_loop(), name=name)


def running_name(loop: asyncio.AbstractEventLoop) -> str:
    """Return the name of the task that runs in *loop* now, from any thread; it never raises."""
    task = asyncio.current_task(loop)
    if task is None:
        return "a callback"
    try:
        return text_of(task.get_name(), 200)
    except BaseException as error:  # noqa: BLE001  # a task of the user's may be of any class
        return f"a task whose name raises {name_of(type(error))}"


def hide(task: "asyncio.Task[Any]") -> None:
    """Take a task out of `asyncio.all_tasks`."""
    asyncio.tasks._unregister_task(task)  # noqa: SLF001  # documented for classes of tasks


def leave_behind(task: "asyncio.Task[Any]") -> None:
    """Abandon a task that ignores its cancellation, so that nothing waits for it.

    `asyncio.run` waits at its end for every task that it knows. And when a task is collected,
    Python throws an exception into its coroutine once more; a coroutine that catches everything
    may then run for ever.
    """
    hide(task)
    with suppress(ImportError):
        import ctypes  # only here: it takes some milliseconds

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
