"""The jobs that wait in a queue, as a test sees them."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

from aiostreamq.model.info import call_of
from aiostreamq.model.job_state import JobState
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.info import JobInfo
    from aiostreamq.model.task import TaskSpec

WAITING = (JobState.QUEUED, JobState.DELAYED, JobState.HELD, JobState.PARKED)


@record
class EnqueuedJob:
    """A job that waits to be run."""

    id: str
    task: str  #: name of the task
    #: the arguments by the names of their parameters, as plain JSON, secrets masked; those of
    #: `*args`, and of a task that is not registered here, by their places: "0", "1"
    arguments: "Mapping[str, object]"
    lane: str
    state: JobState  #: QUEUED, DELAYED, HELD or PARKED
    delay: float  #: seconds until it is due; 0 if it is due
    due: datetime | None  #: when it is due, in UTC; None if it is due
    attempt: int  #: number of its next attempt, from 1

    def __str__(self) -> str:
        when = f"due in {self.delay:.6g} s" if self.due is not None else self.state.value
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{shown_call(self.task, self.arguments)}   {when}, lane {self.lane!r}{again}"


def shown_call(task: str, arguments: "Mapping[str, object]") -> str:
    """Return a call as it is written in Python."""
    parts = [
        repr(value) if name.isdigit() else f"{name}={value!r}" for name, value in arguments.items()
    ]
    return f"{task}({', '.join(parts)})"


def arguments_of(spec: "TaskSpec | None", envelope: bytes) -> "dict[str, object]":
    """Return the arguments of a call by the names of their parameters."""
    call = call_of(envelope)
    return by_name(spec, call.args or [], call.kwargs or {})


def by_name(
    spec: "TaskSpec | None", args: "Sequence[object]", kwargs: "Mapping[str, object]"
) -> "dict[str, object]":
    """Return arguments by the names of their parameters."""
    found: dict[str, object] = {}
    signature = None if spec is None else spec.signature
    for place, value in enumerate(args):
        name = str(place) if signature is None else signature.name_of(place)
        # The second and further values of `*args` have the name of the first.
        found[str(place) if name in found else name] = value
    return {**found, **kwargs}


async def enqueued_jobs(queue: "QueueClient", core: "QueueCore") -> list[EnqueuedJob]:
    """Return all jobs that wait, in the order of the listing: queued, delayed, held, parked."""
    info = await queue.info()
    return [_enqueued(core, job, info.at) async for job in cast("Jobs", queue.jobs(state=WAITING))]


def _enqueued(core: "QueueCore", job: "JobInfo", now: datetime) -> EnqueuedJob:
    delay = 0.0 if job.due is None else max(0.0, (job.due - now).total_seconds())
    arguments = by_name(core.spec_of(job.task), job.args or [], job.kwargs or {})
    return EnqueuedJob(
        job.id, job.task, arguments, job.lane, job.state, delay, job.due, job.attempt
    )


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Jobs = AsyncIterator[JobInfo]
