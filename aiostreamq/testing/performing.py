"""`perform`: one call of a task, run here, with its values sent through JSON both ways."""

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, cast

import orjson

from aiostreamq.client.context import Context
from aiostreamq.client.current_job import JOB
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.values.equality import difference
from aiostreamq.testing.enqueued import by_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Mapping, Sequence

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.task import TaskSpec

# The name that contexts have for the worker, and for the job.
WORKER = "perform"


class ValueChanged(AssertionError):  # pytest shows it as a failed assertion
    """A value would arrive in another form than it was sent in."""


async def perform_call(
    queue: "QueueClient",
    spec: "TaskSpec",
    args: "Sequence[object]",
    kwargs: "Mapping[str, object]",
) -> object:
    """Run a call here; see `IsolatedQueue.perform`."""
    signature, function = spec.signature, spec.function
    assert signature is not None, "registered tasks have both"
    assert function is not None, "registered tasks have both"
    envelope = decode_envelope(write_call(spec, args, kwargs, {}))
    restored, named = signature.restore_arguments(envelope.args, envelope.kwargs)
    sent, arrived = by_name(spec, args, kwargs), by_name(spec, restored, named)
    for name, value in sent.items():
        _check(f"argument {name!r} of task {spec.name!r}", value, arrived[name])
    if signature.context_name is not None:
        context = Context(WORKER, spec.name, 1, 1, queue, WORKER)
        restored, named = signature.with_context(restored, named, context)
    around = contextvars.copy_context()
    around.run(JOB.set, (spec.name, WORKER, 1, WORKER, None, None))
    running = _run(spec, restored, named)
    value = await asyncio.create_task(running, context=around)
    if spec.is_stream:
        return [_through_json(spec, chunk) for chunk in cast("list[object]", value)]
    return _through_json(spec, value)


async def _run(
    spec: "TaskSpec", args: "Sequence[object]", kwargs: "Mapping[str, object]"
) -> object:
    function = cast("Any", spec.function)
    if spec.is_stream:
        return [chunk async for chunk in cast("AsyncIterable[object]", function(*args, **kwargs))]
    if spec.is_async:
        return await cast("Awaitable[object]", function(*args, **kwargs))
    value = await asyncio.to_thread(function, *args, **kwargs)
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
