"""Tasks in the loop, in threads and in processes, whose code logs and asks for its trace."""

import logging

from opentelemetry import trace

from aiostreamq import JobFilter, Queue, Retry, current_job
from aiostreamq.contrib.opentelemetry import job_context
from aiostreamq.contrib.structlog import add_job

queue = Queue("memory://", name="observed")

logger = logging.getLogger("observed")

#: The fields that both ways of logging add.
FIELDS = ("task", "job_id", "attempt", "worker", "trace_id")


def lines() -> list[dict[str, object]]:
    """Return what a line of `logging` and one of structlog have of the job."""
    record = logger.makeRecord("observed", logging.INFO, "x", 1, "hello", (), None)
    JobFilter().filter(record)
    event = add_job(None, "info", {"event": "hello"})
    return [
        {name: vars(record)[name] for name in FIELDS},
        {name: event.get(name) for name in FIELDS},
    ]


def trace_here() -> str:
    """Return the id of the trace that spans of this code would belong to."""
    found = trace.get_current_span(job_context()).get_span_context()
    return format(found.trace_id, "032x")


def seen() -> list[object]:
    """Return the trace, the log lines and the headers, as the code of a task sees them."""
    job = current_job()
    assert job is not None
    return [trace_here(), lines(), dict(job.headers)]


@queue.task
async def on_loop() -> list[object]:
    """See it on the event loop."""
    return seen()


@queue.task
def in_thread() -> list[object]:
    """See it in a thread."""
    return seen()


@queue.task(executor="process")
def in_process() -> list[object]:
    """See it in a process."""
    return seen()


@queue.task(retry=Retry(3, backoff=[0.001]))
async def fail() -> None:
    """Fail each time."""
    raise ValueError("no tea")


@queue.task
def fail_in_thread() -> None:
    """Fail in a thread."""
    raise ValueError("no tea")


@queue.task(executor="process")
def fail_in_process() -> None:
    """Fail in a process."""
    raise ValueError("no tea")
