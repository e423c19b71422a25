"""The job that the calling code runs for, for the task and everything that it calls."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiostreamq.client.inherited import current_headers
from aiostreamq.model.metadata import NO_HEADERS

if TYPE_CHECKING:
    from aiostreamq.model.delivery import EntryRef


class _Named(NamedTuple):
    task: str  #: name of the task
    job_id: str  #: id of the job
    attempt: int  #: number of this attempt, from 1


class CurrentJob(_Named):
    """The job that the calling code runs for: `task`, `job_id`, `attempt` and `headers`.

    It is a tuple of the first three.
    """

    headers: Mapping[str, str] = NO_HEADERS  #: the headers of the job


class Lender(Protocol):
    """The slots of a worker, which its runs lend while they await other jobs of its queue."""

    queue: str  #: name of the queue

    def lend(self, key: "EntryRef") -> None:
        """Lend the slot of a run that begins to await a job."""
        ...

    def take_back(self, key: "EntryRef") -> None:
        """Take the slot back when the run awaits no job any more."""
        ...


#: The fields of log records about a job.
LOG_FIELDS = (*_Named._fields, "worker")

# A plain tuple, because one is made for each job: the values of LOG_FIELDS, then the lender of the
# run's slot and the key of the run, both None in a process, which cannot await jobs. The run
# itself is left out: it refers to the asyncio task that owns this context, and such a reference
# circle would be left to the garbage collector.
_Job = tuple[str, str, int, str, Lender | None, "EntryRef | None"]
JOB: ContextVar[_Job | None] = ContextVar("aiostreamq_job", default=None)


_NO_VALUES = (None,) * len(LOG_FIELDS)


def current_job() -> CurrentJob | None:
    """Return the job that the calling code runs for, or None outside of jobs.

    It works on the event loop, in the threads and processes of tasks, and in asyncio tasks that
    a job starts. A `threading.Thread` that you start must run in a copy of the context.
    """
    found = JOB.get()
    if found is None:
        return None
    job = CurrentJob(*found[:3])
    job.headers = current_headers()
    return job


#: The field of log records that holds the trace of a job.
TRACE_ID = "trace_id"

# Headers that name a trace, of OpenTelemetry (and all that follow the W3C) and of Sentry, with the
# part of their value that is its id.
_TRACE_HEADERS = (("traceparent", 1), ("sentry-trace", 0))


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the id of the trace that headers name, or None."""
    for name, place in _TRACE_HEADERS:
        parts = headers.get(name, "").split("-")
        if len(parts) > place + 1:
            return parts[place]
    return None


def job_values() -> tuple[str, str, int, str] | None:
    """Return the values of LOG_FIELDS, or None outside of jobs."""
    found = JOB.get()
    return None if found is None else found[:4]


class JobFilter(logging.Filter):
    """A filter that adds the job to each log record; it drops none.

    It adds `task`, `job_id`, `attempt`, `worker`, and `trace_id` if the job is traced. Use it for
    your own handlers, whose formats can then name them. Outside of jobs they are None. A record's
    own values under these names are kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is missing; return True."""
        fields = record.__dict__
        # The library names the job itself: it is often not the one that runs here.
        is_ours = record.name.partition(".")[0] == "aiostreamq"
        # An earlier filter may have set it, in the thread where the record was made.
        found = fields.setdefault("aiostreamq_job", None if is_ours else job_values())
        for name, value in zip(LOG_FIELDS, found or _NO_VALUES, strict=True):
            fields.setdefault(name, value)
        if TRACE_ID not in fields:
            fields[TRACE_ID] = _trace_id(fields.get("job_id"))
        return True


def _trace_id(job_id: object) -> str | None:
    """Return the id of the trace of the job that runs here, if it is that job."""
    found = JOB.get()
    if found is None or found[1] != job_id:
        return None
    return trace_id_of(current_headers())
