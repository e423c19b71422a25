"""Calling the function of a job: in the event loop, in a thread, or in a process."""

import sys
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any, cast

from aiostreamq.client.context import Context, StopFlag
from aiostreamq.client.core import core_of
from aiostreamq.client.inherited import current_headers
from aiostreamq.client.task import Task
from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.time import moment_or_none
from aiostreamq.worker.run.threads import wait_for_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.client.context import Charges, EventSink
    from aiostreamq.client.middleware import RunCall
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.resources.overrides import Overrides
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.functions.dependency_plan import Plan
    from aiostreamq.model.functions.signature import Arguments, Keywords, TaskSignature
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.worker.run.processes import ProcessPool
    from aiostreamq.worker.run.run import Run
    from aiostreamq.worker.run.threads import ThreadRunner


class Invoker:
    """Calls functions with the arguments of their jobs, and writes what they return."""

    def __init__(
        self,
        queue: "QueueClient",
        worker: str,
        threads: "ThreadRunner",
        processes: "Callable[[], ProcessPool]",
        new_sink: "Callable[[Delivery, str, int], EventSink]",
        charges_of: "Callable[[Run], Charges]",
    ) -> None:
        """Prepare to call.

        Args:
            queue: For the contexts.
            worker: Name for the contexts.
            threads: Where `def` tasks run.
            processes: Returns where those run that are for processes.
            new_sink: Makes the sink of the events of a delivery, from its task and the milliseconds
                that its outcome is kept.
            charges_of: Returns what a run can charge to the limits of its task.
        """
        self._queue = queue
        self._core = core_of(queue)
        self._worker = worker
        self._threads = threads
        self._processes = processes
        self._new_sink = new_sink
        self._charges_of = charges_of
        self._resources = core_of(queue).resources

    async def call(self, run: "Run", begin: "Callable[[Run], None]") -> bytes:
        """Call the function of a job; returns what it returned, as JSON.

        Args:
            run: The job.
            begin: Called when the function is called in a process.

        Raises:
            Exception: Any that the function raises.
            PayloadError: The result cannot travel.
        """
        spec, envelope = run.spec, run.envelope
        function, signature = spec.function, spec.signature
        assert function is not None and signature is not None, "registered tasks have both"  # noqa: PT018
        if spec.executor == "process":
            return await self._call_in_process(run, begin)
        if signature.plan is not None:
            return await self._call_with_dependencies(run, signature, signature.plan)
        args, kwargs = signature.restore_arguments(envelope.args, envelope.kwargs)
        sink: EventSink | None = None
        if signature.context_name is not None or spec.is_stream:
            sink = self._new_sink(run.delivery, spec.name, run.keep_ms)
            args, kwargs = signature.with_context(args, kwargs, self._context_of(run, sink))
        try:
            if spec.is_async:
                # No cast, which would cost each job something.
                awaited: Any = function(*args, **kwargs)
                value: object = await awaited
            elif sink is not None and spec.is_stream:
                chunks = _chunks_of(spec.name, function(*args, **kwargs))
                await sink.stream(chunks, signature.write_result, self._queue.max_payload)
                return b"null"
            else:
                value = await self._threads.call(run, function, args, kwargs)
                if hasattr(value, "__await__"):  # the function is a wrapper around an `async def`
                    value = await cast("Awaitable[object]", value)
        finally:
            # Followers of the job read until the end of its events, so that comes last.
            if sink is not None and sink.has_events:
                await sink.aclose()
        written = signature.write_result(value)
        if len(written) > self._queue.max_payload:
            raise self._too_long(run, written)
        return written

    async def _call_with_dependencies(
        self, run: "Run", signature: "TaskSignature", plan: "Plan"
    ) -> bytes:
        # Imported late: most workers have no tasks with dependencies.
        from aiostreamq.worker.run.dependencies import RunDependencies

        sink = self._new_sink(run.delivery, run.spec.name, run.keep_ms)
        resources, context = self._resources, self._context_of(run, sink)
        assert resources.scope is not None  # as the worker runs
        plan = resources.overrides.plan_of(signature, plan)
        dependencies = RunDependencies(plan, resources.scope, self._threads, context)
        args, kwargs = signature.restore_arguments(run.envelope.args, run.envelope.kwargs)
        try:
            args, kwargs = await dependencies.enter(signature.filled_in, args, kwargs)
            # Written before the clean-up: a result that cannot be sent is a failure.
            written = await self._written(run, signature, sink, args, kwargs)
            await dependencies.leave(None)
        except BaseException as error:
            await wait_for_thread(run.thread)  # it uses the values
            await dependencies.leave(error)
            raise
        finally:
            if sink.has_events:
                await sink.aclose()
        return written

    async def _written(
        self,
        run: "Run",
        signature: "TaskSignature",
        sink: "EventSink",
        args: "Arguments",
        kwargs: "Keywords",
    ) -> bytes:
        """Call the function of a job with all of its arguments; return the result as JSON."""
        spec = run.spec
        function = cast("Callable[..., Any]", spec.function)
        if spec.is_stream:
            chunks = _chunks_of(spec.name, function(*args, **kwargs))
            await sink.stream(chunks, signature.write_result, self._queue.max_payload)
            return b"null"
        if spec.is_async:
            value = await function(*args, **kwargs)
        else:
            value = await self._threads.call(run, function, args, kwargs)
            if hasattr(value, "__await__"):  # the function is a wrapper around an `async def`
                value = await cast("Awaitable[object]", value)
        return self.write(run, value)

    def write(self, run: "Run", value: object) -> bytes:
        """Return *value* as JSON, as the result of a run.

        Raises:
            PayloadError: It cannot travel.
        """
        signature = run.spec.signature
        assert signature is not None, "registered tasks have one"
        written = signature.write_result(value)
        if len(written) > self._queue.max_payload:
            raise self._too_long(run, written)
        return written

    def run_call(self, run: "Run") -> "RunCall":
        """Return a run as middleware sees it."""
        # Imported at the first use: most queues have no middleware.
        from aiostreamq.client.middleware import RunCall

        signature, envelope, delivery = run.spec.signature, run.envelope, run.delivery
        assert signature is not None, "registered tasks have one"
        return RunCall(
            run.spec.name,
            delivery.job_id,
            delivery.attempt,
            delivery.number,
            self._worker,
            envelope.headers,
            () if envelope.metadata is None else envelope.metadata.tags,
            lambda: signature.restore_arguments(envelope.args, envelope.kwargs),
        )

    async def _call_in_process(self, run: "Run", begin: "Callable[[Run], None]") -> bytes:
        _check_found_by_name(run.spec)
        if self._resources.overrides:
            _check_not_overridden(run.spec, self._resources.overrides)
        delivery, envelope = run.delivery, run.envelope
        about = {
            "job_id": delivery.job_id,
            "attempt": delivery.attempt,
            "delivery": delivery.number,
            "worker": self._worker,
            "scheduled_for": envelope.scheduled_for,
            "deadline": envelope.deadline,
            "lifespans": self._resources.places(),
            "headers": current_headers(),  # with those that middleware has added
            "parent": envelope.parent,
            "carried": {} if self._core.hooks is None else self._core.hooks.carried_values(),
        }
        written = await self._processes().call(run.spec, envelope, about, lambda: begin(run))
        if len(written) > self._queue.max_payload:
            raise self._too_long(run, written)
        return written

    def _too_long(self, run: "Run", written: bytes) -> PayloadError:
        return PayloadError(
            f"task {run.spec.name!r}: a result of {len(written):,} bytes is over the limit of "
            f"{self._queue.max_payload:,}: return a reference to the data, "
            f"or raise Queue(max_payload=)"
        )

    def _context_of(self, run: "Run", sink: "EventSink") -> Context:
        delivery = run.delivery
        run.flag = StopFlag()
        return Context(
            delivery.job_id,
            run.spec.name,
            delivery.attempt,
            delivery.number,
            self._queue,
            self._worker,
            moment_or_none(run.envelope.scheduled_for),
            moment_or_none(run.envelope.deadline),
            None if self._resources.scope is None else self._resources.scope.state,
            run.flag,
            sink,
            headers=run.envelope.headers,
            parent=run.envelope.parent,
            _charges=self._charges_of(run),
        )


def _check_found_by_name(spec: "TaskSpec") -> None:
    """Raise UsageError if a process would find another function by the name of a task's own.

    Such as the one inside of a decorator that keeps the name, in place of the decorated one.
    """
    qualname = getattr(spec.function, "__qualname__", "")
    found: Any = sys.modules.get(getattr(spec.function, "__module__", ""))
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if isinstance(found, Task):
        found = found.__wrapped__
    if found != spec.function:  # a method is another object each time
        raise UsageError(
            f"task {spec.name!r}: a process finds its function by importing {qualname!r}, which is "
            f"another one: decorate it with @queue.task at its definition, above all others"
        )


def _check_not_overridden(spec: "TaskSpec", overrides: "Overrides") -> None:
    """Raise UsageError if a dependency of a task for processes is overridden."""
    signature = spec.signature
    if signature is None or signature.plan is None:
        return
    plan = overrides.plan_of(signature, signature.plan)
    if [step.key for step in plan.steps] != [step.key for step in signature.plan.steps]:
        raise UsageError(
            f"task {spec.name!r} runs in a process, which queue.override does not reach: call the "
            f"function directly in the test, or leave executor='process' out"
        )


def _chunks_of(task: str, value: object) -> AsyncGenerator[object, None]:
    """Return what a streaming task gave as something that can be closed."""
    if isinstance(value, AsyncGenerator):
        return cast("AsyncGenerator[object, None]", value)
    if isinstance(value, AsyncIterable):
        return _each(cast("AsyncIterable[object]", value))
    raise TypeError(
        f"task {task!r} is to stream, and gave an object of type {type(value).__qualname__!r}: "
        f"return an asynchronous generator"
    )


async def _each(values: AsyncIterable[object]) -> AsyncGenerator[object, None]:
    async for value in values:
        yield value
