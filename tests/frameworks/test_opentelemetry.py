"""OpenTelemetry, with its real SDK: spans of enqueues and runs, and the trace in the task."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aiostreamq import Drop, JobDropped, JobFailed, JobFilter, Queue, UsageError, Worker
from aiostreamq.client import inherited
from aiostreamq.contrib import opentelemetry
from aiostreamq.contrib.opentelemetry import instrument
from aiostreamq.worker.logs.formatters import JsonFormatter, TextFormatter
from tests.frameworks import observed_app
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WHERE = ("on_loop", "in_thread", "in_process")


class Spans:
    """The spans that were exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        """Return those of a name, in the order of their starts."""
        found = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    async def wait_for(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait for a number of spans."""
        await wait_until(lambda: len(self.named(name)) >= count, f"{count} spans {name!r}")
        found = self.named(name)
        assert len(found) == count
        return found


@pytest.fixture
def spans() -> Spans:
    """A provider whose spans are kept."""
    return Spans()


def app_queue(url: str) -> Queue:
    """Return the queue of the application, at another place and without what tests have added."""
    queue = Queue(url, name="observed")
    for task in list(observed_app.queue.tasks.values()):
        spec = task.spec
        options: dict[str, Any] = {"executor": spec.executor} if spec.executor == "process" else {}
        if spec.options.retry:
            options["retry"] = spec.options.retry
        queue.task(**options)(cast("Callable[..., Any]", spec.function))
    return queue


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue with the tasks of the application."""
    async with app_queue(store_url) as queue:
        yield queue


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    assert span.context is not None
    return span.context.span_id


def linked(span: ReadableSpan) -> list[int]:
    """Return the ids of the spans that a span is linked to."""
    return [link.context.span_id for link in span.links]


def trace_of(span: ReadableSpan) -> str:
    """Return the id of the trace of a span."""
    assert span.context is not None
    return format(span.context.trace_id, "032x")


@pytest.mark.parametrize("task", WHERE)
@pytest.mark.parametrize("is_parent", [False, True])
async def test_spans_of_a_job(queue: Queue, spans: Spans, task: str, is_parent: bool) -> None:
    """The run has a span that leads to that of the enqueue, and the task runs within it."""
    instrument(queue, tracer_provider=spans.provider, parent=is_parent)
    tracer = spans.provider.get_tracer("test")
    async with Worker(queue, processes=1) as worker:
        with tracer.start_as_current_span("request") as request:
            job = await queue.enqueue(task)
        seen, lines, headers = cast("tuple[str, list[dict[str, Any]], dict[str, str]]", await job)
        [sent] = await spans.wait_for("send observed")
        [run] = await spans.wait_for("process observed")
        name = worker.name
    assert sent.parent == request.get_span_context()
    assert (sent.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    if is_parent:
        assert run.parent is not None
        assert run.parent.span_id == id_of(sent)
        assert trace_of(run) == trace_of(sent)
        assert run.links == ()
    else:
        assert run.parent is None
        assert trace_of(run) != trace_of(sent)
        assert linked(run) == [id_of(sent)]
    about = attributes(run)
    waited = cast("float", about.pop("aiostreamq.wait_seconds"))
    assert 0 <= waited < PATIENCE
    assert about == {
        "messaging.system": "aiostreamq",
        "messaging.destination.name": "observed",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": job.id,
        "messaging.client.id": name,
        "aiostreamq.task": task,
        "aiostreamq.attempt": 1,
        "aiostreamq.delivery": 1,
        "aiostreamq.state": "done",
    }
    assert run.status.status_code is StatusCode.UNSET
    assert run.start_time is not None and run.end_time is not None  # noqa: PT018
    assert run.start_time <= run.end_time
    # In the task, wherever it runs: the trace, and each log line.
    assert seen == trace_of(run)
    expected = {"task": task, "job_id": job.id, "attempt": 1, "worker": name}
    assert lines == [expected | {"trace_id": trace_of(run)}] * 2
    assert trace_of(run) in headers["traceparent"]


async def test_jobs_of_jobs(queue: Queue, spans: Spans) -> None:
    """A job that a job enqueues is linked to the run that has enqueued it."""
    instrument(queue, tracer_provider=spans.provider)

    @queue.task
    async def outer() -> None:
        await (await queue.enqueue("on_loop"))

    async with Worker(queue):
        await (await outer.enqueue())
        runs = await spans.wait_for("process observed", 2)
        sends = await spans.wait_for("send observed", 2)
    first, second = runs
    assert sends[1].parent is not None
    assert sends[1].parent.span_id == id_of(first)
    assert linked(second) == [id_of(sends[1])]


@pytest.mark.parametrize("task", ["fail", "fail_in_thread", "fail_in_process"])
async def test_failed_runs(queue: Queue, spans: Spans, task: str) -> None:
    """Each attempt has a span with its error; all are linked to the one enqueue."""
    instrument(queue, tracer_provider=spans.provider)
    count = 3 if task == "fail" else 1
    async with Worker(queue, processes=1):
        with pytest.raises(JobFailed):
            await (await queue.enqueue(task))
        runs = await spans.wait_for("process observed", count)
    assert [attributes(run)["aiostreamq.attempt"] for run in runs] == list(range(1, count + 1))
    [sent] = spans.named("send observed")
    for run in runs:
        assert run.status.status_code is StatusCode.ERROR
        assert attributes(run)["error.type"] == "ValueError"
        assert linked(run) == [id_of(sent)]
        [event] = run.events
        assert dict(event.attributes or {})["exception.message"] == "no tea"
    assert attributes(runs[-1])["aiostreamq.state"] == "failed"
    assert ["aiostreamq.retry_after_seconds" in attributes(run) for run in runs] == [
        *[True] * (count - 1), False,
    ]  # fmt: skip


async def test_dropped_job_is_no_error(queue: Queue, spans: Spans) -> None:
    """It ended as it was meant to."""

    @queue.task
    async def drop() -> None:
        raise Drop("not needed")

    instrument(queue, tracer_provider=spans.provider)
    async with Worker(queue):
        with pytest.raises(JobDropped):
            await (await drop.enqueue())
        [run] = await spans.wait_for("process observed")
    assert run.status.status_code is StatusCode.UNSET
    assert attributes(run)["aiostreamq.state"] == "dropped"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize("task", WHERE[:2])
async def test_log_lines_of_a_worker(
    queue: Queue, spans: Spans, formatter: logging.Formatter, task: str
) -> None:
    """Lines of the job, and of the worker about it, name the trace; others do not."""
    instrument(queue, tracer_provider=spans.provider)
    lines: list[str] = []

    class Lines(logging.Handler):
        """Keeps lines."""

        def emit(self, record: logging.LogRecord) -> None:
            """Keep one."""
            lines.append(formatter.format(record))

    @queue.task
    async def log_in_loop() -> None:
        logging.getLogger("shop").warning("hello")
        raise ValueError("no tea")

    @queue.task
    def log_in_thread() -> None:
        logging.getLogger("shop").warning("hello")
        raise ValueError("no tea")

    name = {"on_loop": log_in_loop, "in_thread": log_in_thread}[task].spec.name
    handler = Lines()
    handler.addFilter(JobFilter())
    logging.getLogger().addHandler(handler)
    try:
        async with Worker(queue):
            logging.getLogger("shop").warning("outside")
            with pytest.raises(JobFailed):
                await (await queue.enqueue(name))
            [run] = await spans.wait_for("process observed")
    finally:
        logging.getLogger().removeHandler(handler)
    [hello] = [line for line in lines if "hello" in line]
    [failed] = [line for line in lines if "job failed" in line]
    [outside] = [line for line in lines if "outside" in line]
    assert trace_of(run) in hello
    assert trace_of(run) in failed
    assert "trace_id" not in outside


@pytest.mark.parametrize("count", [1, 20, 600])
async def test_bulk(queue: Queue, spans: Spans, count: int) -> None:
    """A chunk of `enqueue_many` is one span, and each of its jobs is linked to that."""
    instrument(queue, tracer_provider=spans.provider)
    task = queue.tasks["on_loop"]
    async with Worker(queue):
        jobs = await queue.enqueue_many(task.bind() for _ in range(count))
        await asyncio.gather(*jobs)
        runs = await spans.wait_for("process observed", count)
    sends = spans.named("send observed")
    counts = [attributes(span)["messaging.batch.message_count"] for span in sends]
    assert sum(counts) == count
    assert len(sends) <= 1 + count // 400
    assert {linked(run)[0] for run in runs} == {id_of(span) for span in sends}


async def test_two_bulks_at_a_time(queue: Queue, spans: Spans) -> None:
    """Each has a span of its own, in the trace of the code that enqueues it."""
    instrument(queue, tracer_provider=spans.provider)
    tracer, task = spans.provider.get_tracer("test"), queue.tasks["on_loop"]

    async def enqueue(name: str) -> None:
        with tracer.start_as_current_span(name):
            await queue.enqueue_many([task.bind() for _ in range(3)])

    await asyncio.gather(enqueue("a"), enqueue("b"))
    sends = await spans.wait_for("send observed", 2)
    parents = {id_of(span) for span in (*spans.named("a"), *spans.named("b"))}
    assert {span.parent and span.parent.span_id for span in sends} == parents
    assert [attributes(span)["messaging.batch.message_count"] for span in sends] == [3, 3]


async def test_baggage_travels(queue: Queue, spans: Spans) -> None:
    """It is that of the code that enqueues."""
    instrument(queue, tracer_provider=spans.provider)

    @queue.task
    async def read() -> object:
        return baggage.get_baggage("tenant")

    async with Worker(queue):
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        job = await read.enqueue()
        context.detach(token)
        assert await job == "acme"


async def test_baggage_that_is_too_long(queue: Queue, spans: Spans) -> None:
    """The job is enqueued without it: tracing refuses no job."""
    instrument(queue, tracer_provider=spans.provider)
    current = context.get_current()
    for n in range(10):
        current = baggage.set_baggage(f"b{n}", "x" * 1000, current)
    async with Worker(queue):
        token = context.attach(current)
        job = await queue.enqueue("on_loop")
        context.detach(token)
        assert await job


async def test_without_a_provider(queue: Queue) -> None:
    """Jobs run as they do, and headers stay empty."""
    instrument(queue)

    @queue.task
    async def headers() -> dict[str, str]:
        return dict(inherited.current_headers())

    async with Worker(queue):
        assert await (await headers.enqueue()) == {}


def test_twice(queue: Queue, spans: Spans) -> None:
    """A queue that is traced twice would have two spans for each job."""
    instrument(queue, tracer_provider=spans.provider)
    with pytest.raises(UsageError, match="traced already"):
        instrument(queue)


class Odd(BaseException):
    """Not even an Exception."""


class Broken(SpanProcessor):
    """A processor that raises."""

    def __init__(self, error: BaseException, on: str) -> None:
        self.error = error
        self.on = on

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Raise, if that is asked for."""
        del span, parent_context
        if self.on == "start":
            raise self.error

    def on_end(self, span: Any) -> None:
        """Raise, if that is asked for."""
        del span
        if self.on == "end":
            raise self.error


@pytest.mark.parametrize("on", ["start", "end"])
@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), Odd()])
async def test_processor_that_raises(
    queue: Queue, spans: Spans, error: BaseException, on: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs are enqueued, run and have their results; the error is logged once."""
    spans.provider.add_span_processor(Broken(error, on))
    instrument(queue, tracer_provider=spans.provider)
    async with Worker(queue) as worker:
        for _ in range(3):
            assert await (await queue.enqueue("on_loop"))
        task = queue.tasks["in_thread"]
        await asyncio.gather(*await queue.enqueue_many([task.bind() for _ in range(3)]))
        assert worker.is_ready
    assert 1 <= caplog.text.count("which is not logged again") <= 2


async def test_exporter_that_hangs(queue: Queue, spans: Spans) -> None:
    """An exporter that hangs at the end of a run delays no job and no end of a worker."""
    gate, entered = threading.Event(), threading.Event()

    class Hanging(SpanProcessor):
        """A processor that hangs in the end of a run."""

        def on_end(self, span: ReadableSpan) -> None:
            """Wait."""
            if span.name.startswith("process"):
                entered.set()
                gate.wait(PATIENCE)

    spans.provider.add_span_processor(Hanging())
    instrument(queue, tracer_provider=spans.provider)
    try:
        async with Worker(queue):
            for _ in range(3):
                assert await (await queue.enqueue("on_loop"))
            await wait_until(entered.is_set, "the exporter to hang")
            assert await (await queue.enqueue("in_thread"))
    finally:
        gate.set()


def unheard(_runs: object, _event: object) -> None:
    """Lose an event."""


async def test_runs_whose_end_is_unknown(
    queue: Queue, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If events are dropped, the oldest spans end without an outcome, and are not kept for ever."""
    monkeypatch.setattr("aiostreamq.contrib.open_runs.MOST_OPEN", 2)
    monkeypatch.setattr(opentelemetry.OpenRuns, "__call__", unheard)
    instrument(queue, tracer_provider=spans.provider)
    async with Worker(queue):
        for _ in range(5):
            await (await queue.enqueue("on_loop"))
    runs = await spans.wait_for("process observed", 3)
    assert all("aiostreamq.state" not in attributes(run) for run in runs)


def test_current_span_is_not_left(spans: Spans) -> None:
    """The context of the program is as before."""
    del spans
    assert not trace.get_current_span().get_span_context().is_valid
