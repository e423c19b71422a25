"""`perform`: one call of a task, run here, with its values sent through JSON both ways."""

import asyncio
import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson

from aiostreamq.aio.own_thread import call_in_thread
from aiostreamq.client.context import Context
from aiostreamq.client.core import core_of
from aiostreamq.client.current_job import JOB
from aiostreamq.client.inherited import INHERITED, Inherited
from aiostreamq.errors import UsageError
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.values.equality import difference
from aiostreamq.testing.enqueued import by_name
from aiostreamq.worker.run.dependencies import RunDependencies
from aiostreamq.worker.run.threads import Raised, ThreadRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence

    from aiostreamq.client.call import Call
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.functions.signature import TaskSignature
    from aiostreamq.model.task import TaskSpec

# The name that contexts have for the worker, and for the job.
WORKER = "perform"

# Threads for dependencies that are not asynchronous.
THREADS = 4


class ValueChanged(AssertionError):  # pytest shows it as a failed assertion
    """A value would arrive in another form than it was sent in."""


async def perform_call(
    queue: "QueueClient", call: "Call[object]", attempt: int, delivery: int
) -> object:
    """Run a call here; see `Performer.perform`."""
    spec, args, kwargs = call.spec, call.args, call.kwargs
    signature, function = spec.signature, spec.function
    if signature is None or function is None:
        raise UsageError(
            f"task {spec.name!r} is known here by its name only: perform needs its function"
        )
    envelope = decode_envelope(write_call(spec, args, kwargs, call.using.fields))
    restored, named = signature.restore_arguments(envelope.args, envelope.kwargs)
    sent, arrived = by_name(spec, args, kwargs), by_name(spec, restored, named)
    for name, value in sent.items():
        _check(f"argument {name!r} of task {spec.name!r}", value, arrived[name])
    around = contextvars.copy_context()
    job_id = call.using.id or WORKER
    around.run(JOB.set, (spec.name, job_id, attempt, WORKER, None, None))
    if envelope.metadata is not None:
        around.run(INHERITED.set, Inherited.of(envelope))
    if signature.context_name is None and signature.plan is None:
        running = _run(spec, restored, named)
    else:
        context = partial(
            Context, job_id, spec.name, attempt, delivery, queue, WORKER, headers=envelope.headers
        )
        running = _run_with_resources(queue, spec, signature, restored, named, context)
    return await asyncio.create_task(running, context=around)


async def _run_with_resources(
    queue: "QueueClient",
    spec: "TaskSpec",
    signature: "TaskSignature",
    args: "Sequence[object]",
    kwargs: "Mapping[str, object]",
    new_context: "Callable[..., Context]",
) -> object:
    """Run a function that takes a context or dependencies; open the lifespans around it."""
    resources = core_of(queue).resources
    scope = await resources.open_scope(resources.lifespans)
    try:
        context = new_context(state=scope.state)
        if signature.plan is None:
            return await _run(spec, *signature.with_context(args, kwargs, context))
        plan = resources.overrides.plan_of(signature, signature.plan)
        threads = ThreadRunner(THREADS)
        try:
            run = RunDependencies(plan, scope, threads, context)
            async with run.entered(signature.filled_in, args, kwargs) as arguments:
                return await _run(spec, *arguments)
        except Raised as raised:  # by a dependency, in a thread
            raise raised.error from None
        finally:
            threads.close()
    finally:
        await scope.aclose()


async def _run(
    spec: "TaskSpec", args: "Sequence[object]", kwargs: "Mapping[str, object]"
) -> object:
    """Run a function, and send what it returns or yields through JSON."""
    value = await _called(spec, args, kwargs)
    if spec.is_stream:
        return [_through_json(spec, chunk) for chunk in cast("list[object]", value)]
    return _through_json(spec, value)


async def _called(
    spec: "TaskSpec", args: "Sequence[object]", kwargs: "Mapping[str, object]"
) -> object:
    function = cast("Any", spec.function)
    if spec.is_stream:
        return [chunk async for chunk in cast("AsyncIterable[object]", function(*args, **kwargs))]
    if spec.is_async:
        return await cast("Awaitable[object]", function(*args, **kwargs))
    value = await call_in_thread(partial(function, *args, **kwargs), "aiostreamq:perform")
    # The function may be a wrapper around an `async def`.
    return await value if hasattr(value, "__await__") else value


def _through_json(spec: "TaskSpec", value: object) -> object:
    signature = spec.signature
    assert signature is not None, "it was asked before"
    arrived = signature.restore_result(orjson.loads(signature.write_result(value)))
    _check(f"the result of task {spec.name!r}", value, arrived)
    return arrived


def _check(what: str, sent: object, arrived: object) -> None:
    found = difference(sent, arrived)
    if found is not None:
        raise ValueChanged(
            f"{what} changes on its way: {found}\n"
            f"  sent:    {sent!r}\n"
            f"  arrives: {arrived!r}\n"
            f"  annotate it with a type that JSON can restore"
        )
