"""Sentry: transactions for runs, spans for enqueues, and the exceptions of tasks."""

from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.utils import event_from_exception

from aiostreamq import clock
from aiostreamq.client.inherited import hand_on
from aiostreamq.contrib.open_runs import BAD_ENDS, Bulk, Complaints, OpenRuns, kind_of
from aiostreamq.errors import UsageError
from aiostreamq.model.outcome import RemoteException
from aiostreamq.model.time import UTC
from aiostreamq.telemetry import JobEnded, JobRetried

if TYPE_CHECKING:
    from sentry_sdk import Scope
    from sentry_sdk.tracing import NoOpSpan, Span, Transaction

    from aiostreamq.client.middleware import CallNext, EnqueueCall, RunCall
    from aiostreamq.contrib.open_runs import RunEnd
    from aiostreamq.queue import Queue

ORIGIN = "auto.queue.aiostreamq"

_instrumented = WeakSet["Queue"]()


def instrument(queue: "Queue", *, every_attempt: bool = False) -> None:
    """Report the enqueues, runs and failures of a queue in this process to Sentry, from now on.

    A run is a transaction `queue.process`, an enqueue a span `queue.publish` of what is traced
    there. The exception of a job that has failed for good, timed out or was given up is reported
    once; arguments are not. Call it once for a queue, at the top of a module, and
    `sentry_sdk.init` before or after it. Without that it does nothing.

    Args:
        queue: The queue.
        every_attempt: Whether exceptions of attempts after which the job runs again are reported
            too.

    Raises:
        UsageError: The queue is reported already.
    """
    if queue in _instrumented:
        raise UsageError(f"queue {queue.name!r} is reported already: call instrument() once for it")
    _instrumented.add(queue)
    # Its lines are about the exceptions that are reported here.
    ignore_logger("aiostreamq.worker.failures")
    reporting = _Reporting(queue, every_attempt=every_attempt)
    queue.enqueue_middleware(reporting.publish)
    queue.middleware(reporting.process)
    queue.on_event(reporting.runs)


class _Run:
    """A run, until its event comes."""

    def __init__(
        self, isolation: "Scope", scope: "Scope", transaction: "Transaction | NoOpSpan"
    ) -> None:
        self.isolation = isolation
        self.scope = scope
        self.transaction = transaction
        self.ended: datetime | None = None


class _Reporting:
    """The middleware of one queue."""

    def __init__(self, queue: "Queue", *, every_attempt: bool) -> None:
        self.runs = OpenRuns[_Run](self._finish)
        self._queue = queue.name
        self._every_attempt = every_attempt
        self._bulk = Bulk["Span | None"](lambda: self._new_publish(None), self._end_bulk)
        self._complaints = Complaints("Sentry")

    def publish(self, call: "EnqueueCall") -> "EnqueueCall":
        """Give a call the trace of the code that enqueues it."""
        try:
            if not sentry_sdk.is_initialized():
                return call
            span = self._bulk.span() if call.is_bulk else self._new_publish(call)
            scope = sentry_sdk.get_current_scope()
            headers = dict(scope.iter_trace_propagation_headers(span=span))
            if span is not None and not call.is_bulk:
                span.finish()
            return call.using(headers=headers) if headers else call
        except BaseException as error:  # noqa: BLE001  # hooks of the program's, or too long baggage
            self._complaints.note(error)
            return call

    def _new_publish(self, call: "EnqueueCall | None") -> "Span | None":
        current = sentry_sdk.get_current_span()
        if current is None:
            return None
        name = self._queue if call is None else call.task
        span = current.start_child(op="queue.publish", name=name, origin=ORIGIN)
        span.set_data("messaging.system", "aiostreamq")
        span.set_data("messaging.destination.name", self._queue)
        if call is not None and call.job_id is not None:
            span.set_data("messaging.message.id", call.job_id)
        return span

    def _end_bulk(self, span: "Span | None", count: int) -> None:
        try:
            if span is not None:
                span.set_data("messaging.batch.message_count", count)
                span.finish()
        except BaseException as error:  # noqa: BLE001  # hooks of the program's
            self._complaints.note(error)

    async def process(self, call: "RunCall", call_next: "CallNext") -> object:
        """Run a job in scopes of its own."""
        with ExitStack() as stack:
            run: _Run | None = None
            try:
                run = self._begin(call, stack) if sentry_sdk.is_initialized() else None
            except BaseException as error:  # noqa: BLE001  # hooks of the program's
                self._complaints.note(error)
            try:
                return await call_next()
            finally:
                if run is not None:
                    run.ended = datetime.fromtimestamp(clock.wall(), UTC)

    def _begin(self, call: "RunCall", stack: ExitStack) -> _Run:
        isolation = stack.enter_context(sentry_sdk.isolation_scope())
        isolation.clear_breadcrumbs()
        scope = sentry_sdk.get_current_scope()
        isolation.set_tag("aiostreamq.queue", self._queue)
        isolation.set_tag("aiostreamq.task", call.task)
        isolation.set_context(
            "aiostreamq",
            {"job_id": call.job_id, "attempt": call.attempt, "worker": call.worker},
        )
        transaction = sentry_sdk.start_transaction(
            sentry_sdk.continue_trace(
                dict(call.headers),
                op="queue.process",
                name=call.task,
                source="task",
                origin=ORIGIN,
            )
        )
        transaction.set_data("messaging.system", "aiostreamq")
        transaction.set_data("messaging.destination.name", self._queue)
        transaction.set_data("messaging.message.id", call.job_id)
        transaction.set_data("messaging.message.retry.count", call.attempt - 1)
        scope.span = transaction
        hand_on(dict(scope.iter_trace_propagation_headers(span=transaction)))
        run = _Run(isolation, scope, transaction)
        self.runs.begin(call, run)
        return run

    def _finish(self, run: _Run, end: "RunEnd | None") -> None:
        transaction = run.transaction
        with use_isolation_scope(run.isolation), use_scope(run.scope):
            try:
                self._describe(transaction, end)
            except Exception as error:  # noqa: BLE001  # the exception of a task may do anything
                self._complaints.note(error)
            transaction.finish(end_timestamp=run.ended)

    def _describe(self, transaction: "Transaction | NoOpSpan", end: "RunEnd | None") -> None:
        if isinstance(end, JobRetried):
            transaction.set_status("internal_error")
            if self._every_attempt:
                _report(end.error)
        elif isinstance(end, JobEnded):
            transaction.set_data("messaging.message.receive.latency", end.waited_seconds * 1000)
            is_bad = end.state in BAD_ENDS
            transaction.set_status("internal_error" if is_bad else "ok")
            if is_bad and end.error is not None:
                _report(end.error)


def _report(error: BaseException) -> None:
    event, hint = event_from_exception(
        error,
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "aiostreamq", "handled": False},
    )
    if isinstance(error, RemoteException):  # what a process has raised is here only as text
        values: list[dict[str, Any]] = event["exception"]["values"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        values[-1].pop("stacktrace", None)  # of the worker
        values[-1] |= {"type": kind_of(error), "module": None}
        event["extra"] = {"traceback": error.failure.traceback}
    sentry_sdk.capture_event(event, hint=hint)
