"""`TaskResult`, from what Redis has of a job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils.dateparse import parse_datetime
from django.utils.module_loading import import_string

from aiostreamq.client.ended_job_info import enqueued_at
from aiostreamq.client.job import Job
from aiostreamq.contrib.django.records import FAILED_ATTEMPT, USING, Record, local, parsed
from aiostreamq.errors import JobNotFound
from aiostreamq.model.job_events import Position, Progress
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.model.outcome import Outcome, Unreadable, decode_outcome
from aiostreamq.model.record import record
from aiostreamq.store.job_events import EventStreams
from aiostreamq.store.results import Results

if TYPE_CHECKING:
    from datetime import datetime

    from aiostreamq.client.core import QueueCore
    from aiostreamq.model.info import JobInfo

# The events of a job that are read for the last report: the record is the only one that the
# backend sends, and the code of a task has no other way to send some.
_MOST_EVENTS = 100

_STATUS = {
    JobState.QUEUED: TaskResultStatus.READY,
    JobState.DELAYED: TaskResultStatus.READY,
    JobState.PARKED: TaskResultStatus.READY,
    JobState.HELD: TaskResultStatus.READY,
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.DONE: TaskResultStatus.SUCCESSFUL,
}

# The exceptions of jobs that ended without one of their own.
_ERRORS = {
    JobState.TIMED_OUT: "builtins.TimeoutError",
    JobState.CANCELLED: "aiostreamq.errors.JobCancelled",
    JobState.DEAD: "aiostreamq.errors.JobDead",
    JobState.DROPPED: "aiostreamq.errors.JobDropped",
    JobState.EXPIRED: "aiostreamq.errors.JobExpired",
}


@record
class Found:
    """A job as Redis has it."""

    task: str
    state: JobState
    record: Record
    using: dict[str, Any]
    started_at: datetime | None = None  #: of the run under way
    error: TaskError | None = None  #: how it ended, if no attempt has raised that


async def find(core: QueueCore, job_id: str) -> Found:
    """Look a job up.

    Raises:
        TaskResultDoesNotExist: There is no such job, or its result has expired.
        BrokerError: Redis refused.
    """
    store = core.session().store
    written = await Results(store).job_state(job_id)
    try:
        if written is None:
            raise TaskResultDoesNotExist(job_id)
        if written.startswith(b"{"):
            return await _ended(core, job_id, decode_outcome(written))
        info = await Job[object](job_id, core, is_new=None).info()
    except (JobNotFound, Unreadable) as error:
        raise TaskResultDoesNotExist(job_id) from error
    if info.state in OPEN_STATES and info.task:
        earlier = await last_record(core, job_id) if info.attempt > 1 else Record()
        return _open(info, earlier)
    if not info.task and info.state not in OPEN_STATES:
        raise TaskResultDoesNotExist(job_id)  # it has ended, and keeps no result
    return await find(core, job_id)  # it has changed its state between the two looks


def _open(info: JobInfo, earlier: Record) -> Found:
    args, kwargs, using = split(info.args or [], info.kwargs or {})
    is_running = info.state is JobState.RUNNING
    record = Record(
        args,
        kwargs,
        started_at=earlier.started_at,
        attempted_at=earlier.attempted_at,
        worker_ids=[*earlier.worker_ids, *([info.worker] if is_running else [])],
        errors=earlier.errors,
    )
    return Found(info.task, info.state, record, using, info.state_since if is_running else None)


async def _ended(core: QueueCore, job_id: str, outcome: Outcome) -> Found:
    if outcome.state is JobState.DONE:
        record = Record.of_json(outcome.value)
        args, kwargs, using = split(record.args, record.kwargs)
        return Found(outcome.task, outcome.state, _with(record, args, kwargs), using)
    record = await last_record(core, job_id)
    if not record.worker_ids:  # no attempt has raised: the dead letter may have its call
        info = await Job[object](job_id, core, is_new=None).info()
        finished = info.ended_at.isoformat() if info.ended_at else ""
        started = info.started_at.isoformat() if info.started_at else ""
        workers = [info.worker] if info.worker else []
        record = Record(info.args or [], info.kwargs or {}, started, started, finished, workers)
    failure = outcome.failure
    error = None
    if path := _ERRORS.get(outcome.state):
        error = TaskError(exception_class_path=path, traceback=failure.message if failure else "")
    elif not record.errors and failure is not None:
        path = failure.type if "." in failure.type else f"builtins.{failure.type}"
        error = TaskError(exception_class_path=path, traceback=failure.traceback)
    args, kwargs, using = split(record.args, record.kwargs)
    return Found(outcome.task, outcome.state, _with(record, args, kwargs), using, error=error)


async def last_record(core: QueueCore, job_id: str) -> Record:
    """Return the record of the last failed attempt of a job; an empty one if there is none."""
    streams, place, found = EventStreams(core.session().store), (0, 0), Record()
    while entries := await streams.after(job_id, place, _MOST_EVENTS):
        position = Position()
        for entry in entries:
            place = entry.place
            for event in position.read(entry, lambda value: value):
                if isinstance(event, Progress) and event.message == FAILED_ATTEMPT:
                    found = Record.of_json(event.meta)
    return found


def split(
    args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the arguments of a job as those of the task, and what `.using(...)` has changed."""
    using = kwargs.get(USING)
    own = {name: value for name, value in kwargs.items() if name != USING}
    return args, own, using if isinstance(using, dict) else {}


def _with(record: Record, args: list[Any], kwargs: dict[str, Any]) -> Record:
    return replace(record, args=args, kwargs=kwargs)


def task_called(path: str) -> Task[..., Any]:
    """Return the task that a module defines.

    Raises:
        ImportError: The module or its attribute is missing, or is not a task.
    """
    found = import_string(path)
    if not isinstance(found, Task):
        raise ImportError(  # noqa: TRY004  # as for a name that is missing
            f"{path!r} is not a task of django.tasks"
        )
    return found


def used(task: Task[..., Any], using: dict[str, Any], alias: str) -> Task[..., Any]:
    """Return a task with what `.using(...)` has changed for one job."""
    changes: dict[str, Any] = {
        name: using[name] for name in ("priority", "queue_name") if name in using
    }
    if "run_after" in using:
        changes["run_after"] = parse_datetime(using["run_after"])
    if task.backend != alias:
        changes["backend"] = alias
    return task.using(**changes) if changes else task


def result_of(job_id: str, alias: str, found: Found) -> TaskResult[..., Any]:
    """Return a job as a `TaskResult`.

    Raises:
        TaskResultDoesNotExist: The code of its task is gone.
    """
    try:
        task = used(task_called(found.task), found.using, alias)
    except ImportError as error:
        raise TaskResultDoesNotExist(
            f"{job_id}: its task {found.task!r} cannot be imported"
        ) from error
    record, status = found.record, _STATUS.get(found.state, TaskResultStatus.FAILED)
    errors = record.task_errors + ([found.error] if found.error else [])
    is_over = status in {TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL}
    began = parsed(record.started_at) or found.started_at
    result: TaskResult[..., Any] = TaskResult(
        task=task,
        id=job_id,
        status=status,
        enqueued_at=local(enqueued_at(job_id)),
        started_at=local(began),
        finished_at=local(parsed(record.finished_at)) if is_over else None,
        last_attempted_at=local(found.started_at or parsed(record.attempted_at)),
        args=record.args,
        kwargs=record.kwargs,
        backend=alias,
        errors=errors,
        worker_ids=record.worker_ids,
    )
    if status is TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", record.return_value)
    return result
