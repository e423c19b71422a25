"""Calling the function of a job in a process of `executor="process"`.

Nothing is known here of the connection to the worker: `process_main` has that, and imports this
module when it knows where modules are found.
"""

import importlib
import json
import sys
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from aiostreamq.client.context import Context
from aiostreamq.client.current_job import JOB
from aiostreamq.client.inherited import INHERITED, Inherited
from aiostreamq.client.task import Task, hooks_of
from aiostreamq.errors import UsageError
from aiostreamq.model import verdict
from aiostreamq.model.exception_names import kinds_of
from aiostreamq.model.functions.signature import Arguments, Keywords, TaskSignature
from aiostreamq.model.time import moment_or_none
from aiostreamq.worker.logs.setup import complete
from aiostreamq.worker.run.exception_text import LONGEST_MESSAGE, clean, describe
from aiostreamq.worker.run.process_resources import ProcessResources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.client.hooks import Hooks
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.resources.resources import Resources

#: The lifespans of this process; none is open until the first job comes.
resources = ProcessResources()


def perform(request: bytes, begin: "Callable[[], None]") -> tuple[bool, bytes]:
    """Call the function that a request names, and *begin* just before.

    Returns:
        Whether it returned, and the value or what is known of the exception, as JSON.
    """
    # In a context of its own: no job sees what the job before it has set.
    return copy_context().run(_perform, request, begin)


def _perform(request: bytes, begin: "Callable[[], None]") -> tuple[bool, bytes]:
    try:
        call = json.loads(request)
        about = call["about"]
        JOB.set((call["task"], about["job_id"], about["attempt"], about["worker"], None, None))
        found = find_function(call["module"], call["function"], call["task"])
        function, signature = found.function, found.signature
        args, kwargs = signature.restore_arguments(call["args"], call["kwargs"])
        resources.enter(call["task"], found.resources, about["lifespans"])
        context, plan = context_of(call["task"], about), signature.plan
        # For what it enqueues, by a queue of its own.
        INHERITED.set(Inherited(about["deadline"], about["headers"]))
        if about["carried"]:
            _restore(call["task"], found, about["carried"])
        begin()
        if plan is None:
            args, kwargs = signature.with_context(args, kwargs, context)
            return True, _written(function, signature, args, kwargs)
        with resources.provided(plan, context, signature.filled_in, args, kwargs) as arguments:
            written = _written(function, signature, *arguments)
        return True, written
    except BaseException as error:  # noqa: BLE001  # whatever a task raises is its outcome
        return False, orjson.dumps(_describe(error))


def _written(
    function: "Callable[..., object]",
    signature: TaskSignature,
    args: "Arguments",
    kwargs: "Keywords",
) -> bytes:
    value = function(*args, **kwargs)
    if hasattr(value, "__await__"):  # the function is a wrapper around an `async def`
        value = resources.wait_for(cast("Awaitable[object]", value))
    return signature.write_result(value)


class FoundFunction(NamedTuple):
    """The function of a task, as a process finds it."""

    function: "Callable[..., object]"
    signature: TaskSignature
    resources: "Resources | None"  #: of its queue; None if its name does not lead to the task
    hooks: "Hooks | None" = None  #: likewise


def find_function(module: str, qualname: str, task: str) -> FoundFunction:
    """Import the function of a task.

    Raises:
        UsageError: Its name does not lead to it.
        ImportError: The module cannot be imported here.
    """
    is_new = module not in sys.modules
    found: Any = importlib.import_module(module)
    if is_new:
        complete()  # it may have set logging up
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Task):
        registered = cast("Task[..., object]", found)
        spec = registered.spec
        assert spec.function is not None and spec.signature is not None  # noqa: PT018  # registered
        hooks = hooks_of(registered)
        return FoundFunction(spec.function, spec.signature, registered.resources, hooks)
    if getattr(found, "__qualname__", None) != qualname or not callable(found):
        raise UsageError(
            f"task {task!r}: its process found no function {qualname!r} in module {module!r}: "
            f"do not give its name to something else"
        )
    return FoundFunction(found, TaskSignature(task, found, Context), None)


def _restore(task: str, found: FoundFunction, carried: dict[str, object]) -> None:
    """Set the context variables that the queue of a task carries.

    Raises:
        UsageError: The function does not lead to its queue.
    """
    if found.resources is None:
        raise UsageError(
            f"task {task!r}: its process cannot set the context variables of queue.carry: "
            f"decorate the function with @queue.task at its definition"
        )
    if found.hooks is not None:
        found.hooks.restore(carried)


def context_of(task: str, about: dict[str, Any]) -> Context:
    """Return what a task can know of its job in a process without a connection."""
    return Context(
        about["job_id"],
        task,
        about["attempt"],
        about["delivery"],
        cast("QueueClient", NoQueue(task)),
        about["worker"],
        moment_or_none(about["scheduled_for"]),
        moment_or_none(about["deadline"]),
        state=resources.state,
        headers=about["headers"],
        parent=about["parent"],
    )


class NoQueue:
    """Stands where the context has the queue, and says why there is none."""

    def __init__(self, task: str) -> None:
        self._task = task

    def __getattr__(self, name: str) -> object:
        raise UsageError(
            f"task {self._task!r} runs in a process, which has no connection to Redis: its "
            f"context can neither enqueue nor report progress: return what must be enqueued next "
            f"to the caller that awaits the job, or leave executor='process' out"
        )


def _describe(error: BaseException) -> dict[str, object]:
    """Return what the worker needs to decide about *error*."""
    failure = describe(error)
    reply: dict[str, object] = {
        "kinds": [failure.type],
        "leaves": [],
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
    }
    with suppress(BaseException):  # its class may raise when it is asked: then that was all
        reply |= _deciding_facts(error)
    return reply


def _deciding_facts(error: BaseException) -> dict[str, object]:
    """Return what decides: the names of its classes, and its fields if it steers the job."""
    kinds = kinds_of(error, exported=True)  # the worker need not have loaded these modules
    reply: dict[str, object] = {
        "kinds": sorted(kinds.own),
        "leaves": [sorted(leaf) for leaf in kinds.leaves],
    }
    # A steering exception has a meaning beyond its name, in attributes that JSON can carry.
    steers = [kind for kind in type(error).__mro__ if kind.__module__ == verdict.__name__]
    if steers:
        reply["steers"] = steers[0].__name__
        reply["facts"] = {
            name: value if type(value) in {int, float} else clean(value)[:LONGEST_MESSAGE]
            for name, value in vars(error).items()
        }
    return reply
