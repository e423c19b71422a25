"""Where a worker runs a task's function: on its event loop, in a thread, or in a process."""

import inspect
from collections.abc import Callable
from typing import Literal, get_args

from aiostreamq.errors import UsageError

#: Where a `def` task can run. An `async def` always runs on the event loop.
Place = Literal["thread", "process"]

#: A resource that a worker may have run out of when it was sent a job.
Spillway = Literal["thread", "process", "slot"]


def checked_executor(
    name: str, executor: Place | None, function: Callable[..., object], *, is_async: bool
) -> Place:
    """Return where the function of task *name* runs; None is a thread.

    Raises:
        UsageError: The function cannot run there.
    """
    if executor is None:
        return "thread"
    if executor not in get_args(Place):
        raise UsageError(f"task {name!r}: unknown executor {executor!r}: use 'thread' or 'process'")
    if is_async:
        raise UsageError(
            f"task {name!r} is an `async def` and runs on the event loop: leave "
            f"executor={executor!r} out, or make it a `def`"
        )
    if executor == "process":
        _refuse_unimportable(name, function)
    return executor


def _refuse_unimportable(name: str, function: Callable[..., object]) -> None:
    if inspect.ismethod(function) and not isinstance(function.__self__, type):
        raise UsageError(
            f"task {name!r}: a process cannot access the object that this method is bound to: "
            f"create the object in a `def` at the top of a module, and register that"
        )
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not module or not qualname or "<" in qualname:
        raise UsageError(
            f"task {name!r}: a process finds its function by importing it: define it with "
            f"`def` at the top of a module, not inside a function"
        )
    if module == "__main__":
        raise UsageError(
            f"task {name!r}: a process cannot import it from the program that was started "
            f"(__main__): move it into a module that the program imports"
        )
