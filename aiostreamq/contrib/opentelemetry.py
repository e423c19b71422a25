"""OpenTelemetry: spans for enqueues and runs, joined over processes by the headers of jobs."""

from typing import TYPE_CHECKING
from weakref import WeakSet

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, SpanKind, Status, StatusCode

from aiostreamq import clock
from aiostreamq.client.inherited import current_headers, hand_on
from aiostreamq.contrib.open_runs import BAD_ENDS, Bulk, Complaints, OpenRuns, kind_of
from aiostreamq.errors import UsageError
from aiostreamq.telemetry import JobEnded, JobRetried
from aiostreamq.untrusted import text_of

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span, TracerProvider

    from aiostreamq.client.middleware import CallNext, EnqueueCall, RunCall
    from aiostreamq.contrib.open_runs import RunEnd
    from aiostreamq.queue import Queue

# The conventions have no value for job queues, and allow an own one.
SYSTEM = "aiostreamq"

_instrumented = WeakSet["Queue"]()


def instrument(
    queue: "Queue", *, tracer_provider: "TracerProvider | None" = None, parent: bool = False
) -> None:
    """Trace the enqueues and runs of a queue in this process, from now on.

    An enqueue is a span `send <queue>` of the kind PRODUCER, and so is each chunk of
    `enqueue_many`. A run is a span `process <queue>` of the kind CONSUMER, in a trace of its own
    that is linked to the span of the enqueue. Producers and workers both call this, once, at the
    top of a module.

    Args:
        queue: The queue.
        tracer_provider: The provider to use, by default the global one.
        parent: Whether the span of a run is a child of the span of the enqueue, in the same trace,
            and not linked to it.

    Raises:
        UsageError: The queue is traced already.
    """
    if queue in _instrumented:
        raise UsageError(f"queue {queue.name!r} is traced already: call instrument() once for it")
    _instrumented.add(queue)
    tracing = _Tracing(queue, tracer_provider, is_parent=parent)
    queue.enqueue_middleware(tracing.send)
    queue.middleware(tracing.process)
    queue.on_event(tracing.runs)


def job_context() -> Context:
    """Return the context of the span of the current job, for spans of your own.

    It is the current one already, except in a task with `executor="process"`: its spans are made
    with `tracer.start_as_current_span("x", context=job_context())`. Outside of jobs it is the
    current context.
    """
    headers = current_headers()
    return propagate.extract(headers) if headers else contexts.get_current()


class _Run:
    """The span of a run, until its event comes."""

    def __init__(self, span: "Span", token: "Token[Context]") -> None:
        self.span = span
        self.token = token
        self.ended_ns: int | None = None


class _Tracing:
    """The middleware of one queue."""

    def __init__(
        self, queue: "Queue", provider: "TracerProvider | None", *, is_parent: bool
    ) -> None:
        self.runs = OpenRuns[_Run](self._finish)
        self._queue = queue.name
        self._tracer = trace.get_tracer("aiostreamq", tracer_provider=provider)
        self._is_parent = is_parent
        self._bulk = Bulk["Span"](lambda: self._new_send(None), self._end_bulk)
        self._complaints = Complaints("OpenTelemetry")

    def send(self, call: "EnqueueCall") -> "EnqueueCall":
        """Give a call the context of its span."""
        try:
            span = self._bulk.span() if call.is_bulk else self._new_send(call)
            headers: dict[str, str] = {}
            propagate.inject(headers, trace.set_span_in_context(span))
            if not call.is_bulk:
                span.end()
            return call.using(headers=headers) if headers else call
        except BaseException as error:  # noqa: BLE001  # an exporter of the program's, or baggage that is too long
            self._complaints.note(error)
            return call

    def _new_send(self, call: "EnqueueCall | None") -> "Span":
        attributes = self._attributes("send")
        if call is not None:
            attributes |= {"aiostreamq.task": call.task, "aiostreamq.lane": call.lane}
            if call.job_id is not None:
                attributes["messaging.message.id"] = call.job_id
        return self._tracer.start_span(
            f"send {self._queue}", kind=SpanKind.PRODUCER, attributes=attributes
        )

    def _end_bulk(self, span: "Span", count: int) -> None:
        try:
            span.set_attribute("messaging.batch.message_count", count)
            span.end()
        except BaseException as error:  # noqa: BLE001  # an exporter of the program's
            self._complaints.note(error)

    def _attributes(self, operation: str) -> "dict[str, str | int]":
        return {
            "messaging.system": SYSTEM,
            "messaging.destination.name": self._queue,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
        }

    async def process(self, call: "RunCall", call_next: "CallNext") -> object:
        """Run a job in its span."""
        run: _Run | None = None
        try:
            run = self._begin(call)
        except BaseException as error:  # noqa: BLE001  # an exporter of the program's
            self._complaints.note(error)
        try:
            return await call_next()
        finally:
            if run is not None:
                run.ended_ns = _now_ns()
                contexts.detach(run.token)

    def _begin(self, call: "RunCall") -> _Run:
        sent = propagate.extract(call.headers)
        links: list[Link] = []
        if not self._is_parent:
            found = trace.get_current_span(sent).get_span_context()
            links = [Link(found)] if found.is_valid else []
            sent = trace.set_span_in_context(INVALID_SPAN, sent)  # its baggage stays
        span = self._tracer.start_span(
            f"process {self._queue}",
            context=sent,
            kind=SpanKind.CONSUMER,
            links=links,
            attributes=self._attributes("process")
            | {
                "messaging.message.id": call.job_id,
                "messaging.client.id": call.worker,
                "aiostreamq.task": call.task,
                "aiostreamq.attempt": call.attempt,
                "aiostreamq.delivery": call.delivery,
            },
        )
        context = trace.set_span_in_context(span, sent)
        headers: dict[str, str] = {}
        propagate.inject(headers, context)
        hand_on(headers)
        run = _Run(span, contexts.attach(context))
        self.runs.begin(call, run)
        return run

    def _finish(self, run: _Run, end: "RunEnd | None") -> None:
        try:
            self._describe(run.span, end)
        except Exception as error:  # noqa: BLE001  # the exception of a task may do anything
            self._complaints.note(error)
        run.span.end(run.ended_ns)

    def _describe(self, span: "Span", end: "RunEnd | None") -> None:
        if isinstance(end, JobEnded):
            span.set_attribute("aiostreamq.state", end.state.value)
            span.set_attribute("aiostreamq.wait_seconds", end.waited_seconds)
        elif isinstance(end, JobRetried):
            span.set_attribute("aiostreamq.retry_after_seconds", end.after_seconds)
        if (error := _failure_of(end)) is not None:
            span.set_status(Status(StatusCode.ERROR, text_of(error, 500)))
            span.set_attribute("error.type", kind_of(error))
            span.record_exception(error)


def _failure_of(end: "RunEnd | None") -> BaseException | None:
    if isinstance(end, JobRetried) or (isinstance(end, JobEnded) and end.state in BAD_ENDS):
        return end.error
    return None


def _now_ns() -> int:
    return int(clock.wall() * 1e9)
