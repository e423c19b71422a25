"""Which job runs here: known to the task and to all that it calls."""

import logging
from contextvars import ContextVar
from typing import NamedTuple, Protocol


class CurrentJob(NamedTuple):
    """The job that the calling code runs for."""

    task: str  #: name of the task
    job_id: str  #: id of the job
    attempt: int  #: number of this attempt, from 1


#: What a worker knows a run by: the place of its stream, and its entry.
Key = tuple[int, bytes]


class Lender(Protocol):
    """The slots of a worker, which runs lend while they await other jobs of its queue."""

    queue: str  #: name of the queue

    def lend(self, key: Key) -> None:
        """A run begins to await a job."""
        ...

    def take_back(self, key: Key) -> None:
        """A run awaits one job less."""
        ...


# As a plain tuple, which is made for each job: task, id and attempt, then whose slot the run has
# and the key of the run; both None in a process, which cannot await jobs. The run itself is not
# in it: it has the task whose context this is, and such circles cost the garbage collector.
_Job = tuple[str, str, int, Lender | None, Key | None]
JOB: ContextVar[_Job | None] = ContextVar("aiostreamq_job", default=None)


def current_job() -> CurrentJob | None:
    """Return the job that the calling code runs for; None outside of jobs.

    Known on the event loop, in threads and in processes of tasks, and in asyncio tasks that a
    job starts. A `threading.Thread` of your own knows it only if it runs in a copy of the context.
    """
    found = JOB.get()
    return None if found is None else CurrentJob(*found[:3])


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
        found = fields.setdefault("aiostreamq_job", None if is_ours else current_job())
        for name, value in zip(CurrentJob._fields, found or (None, None, None), strict=True):
            fields.setdefault(name, value)
        return True
