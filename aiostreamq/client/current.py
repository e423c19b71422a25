"""Which job runs here, for log records: of the task and of all that it calls."""

import logging
from contextvars import ContextVar
from typing import NamedTuple


class CurrentJob(NamedTuple):
    """The job that the calling code runs for."""

    task: str  #: name of the task
    job_id: str  #: id of the job
    attempt: int  #: number of this attempt, from 1


# As a plain tuple, which is made for each job and looked at only when something is logged.
JOB: ContextVar[tuple[str, str, int] | None] = ContextVar("aiostreamq_job", default=None)


def current_job() -> CurrentJob | None:
    """Return the job that the calling code runs for; None outside of jobs.

    Known on the event loop, in threads and in processes of tasks, and in asyncio tasks that a
    job starts. A `threading.Thread` of your own knows it only if it runs in a copy of the context.
    """
    found = JOB.get()
    return None if found is None else CurrentJob(*found)


class JobFilter(logging.Filter):
    """Adds `task`, `job_id` and `attempt` to each log record; lets all of them pass.

    For handlers of your own: in their formats the three can be named. Outside of jobs they
    are None. What a record has already under one of these names stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is missing; returns True."""
        fields = record.__dict__
        # The library says itself which job it means: often another than the one it runs in.
        is_ours = record.name.partition(".")[0] == "aiostreamq"
        # A filter before may have looked already, in the thread where the record was made.
        found = fields.setdefault("aiostreamq_job", None if is_ours else JOB.get())
        for name, value in zip(CurrentJob._fields, found or (None, None, None), strict=True):
            fields.setdefault(name, value)
        return True
