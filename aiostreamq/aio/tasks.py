"""The asyncio tasks of the package, which run beside those of the user's code in one loop."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class OwnTask(asyncio.Task[T]):
    """A task of ours, in which jobs run, are fetched, or carried to Redis.

    Code of a job that cancels all tasks of the loop (`asyncio.all_tasks`) must not take the
    worker and the other jobs with it.
    """

    is_job = False  #: whether what runs in it is code of the user's

    def end(self) -> bool:
        """Cancel it, whoever asks."""
        return super().cancel()

    def cancel(self, msg: object = None) -> bool:
        """Cancel it, unless the code of another job asks."""
        try:
            asking = asyncio.current_task()
        except RuntimeError:  # the loop does not run: whoever has made it ends it
            asking = None
        if isinstance(asking, OwnTask) and asking.is_job and asking is not self:
            return False
        return super().cancel(msg)


class JobTask(OwnTask[None]):
    """The task in which a job runs."""

    is_job = True


def spawn(coroutine: "Coroutine[Any, Any, T]", name: str | None = None) -> OwnTask[T]:
    """Start *coroutine* in the next turn of the running loop.

    Not by the loop's factory of tasks, as `asyncio.create_task` does: that may be anybody's.
    """
    return OwnTask(coroutine, loop=asyncio.get_running_loop(), name=name)


def hide(task: "asyncio.Task[Any]") -> None:
    """Take a task out of `asyncio.all_tasks`."""
    asyncio.tasks._unregister_task(task)  # noqa: SLF001  # documented, for those who make tasks


def leave_behind(task: "asyncio.Task[Any]") -> None:
    """Leave a task to itself that does not heed its cancellation, so that nothing waits for it.

    `asyncio.run` waits at its end for all that it knows. And when the task is forgotten, Python
    throws into its coroutine once more, where one that catches everything may run on for ever.
    """
    hide(task)
    with suppress(ImportError):
        import ctypes  # only here: it takes some milliseconds

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))
