"""Expectations of enqueued jobs, and the differences of those that are there."""

from typing import TYPE_CHECKING

from aiostreamq.client.call import Call
from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.info import call_of
from aiostreamq.model.record import record
from aiostreamq.model.task import TaskSpec
from aiostreamq.model.values.masking import lists_secrets, masked
from aiostreamq.testing.enqueued import arguments_of, shown_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.task_argument import Named
    from aiostreamq.testing.enqueued import EnqueuedJob

    #: a task, one with options, the name of one, or a call made with `task.bind(...)`
    Expected = Named | Call[object] | str

# How many jobs a message lists.
MOST_SHOWN = 20


@record
class Expectation:
    """Expected properties of a job. None is anything."""

    task: str
    arguments: "dict[str, object] | None"
    delay: float | None
    within: float  #: seconds by which the delay may differ
    lane: str | None
    job_id: str | None

    def faults(self, job: "EnqueuedJob") -> list[str]:
        """Return what is not as expected, a line each; none if the job is the one."""
        if job.task != self.task:
            return [f"task: expected {self.task!r}, is {job.task!r}"]
        found: list[str] = []
        if self.arguments is not None:
            found += _argument_faults(self.arguments, job)
        if self.delay is not None and abs(job.delay - self.delay) > self.within:
            found.append(f"delay: expected {self.delay:.6g} s, is {job.delay:.6g} s")
        if self.lane is not None and job.lane != self.lane:
            found.append(f"lane: expected {self.lane!r}, is {job.lane!r}")
        if self.job_id is not None and job.id != self.job_id:
            found.append(f"id: expected {self.job_id!r}, is {job.id!r}")
        return found

    def __str__(self) -> str:
        arguments = self.arguments
        text = f"{self.task}(...)" if arguments is None else shown_call(self.task, arguments)
        if self.delay is not None:
            text += f", delay about {self.delay:.6g} s"
        if self.lane is not None:
            text += f", lane {self.lane!r}"
        return text if self.job_id is None else f"{text}, id {self.job_id!r}"

    def difference(self, queue: str, jobs: "Sequence[EnqueuedJob]") -> str:
        """Return the message about jobs none of which is as expected; the nearest come first."""
        if not jobs:
            return f"expected {self} in queue {queue!r}, which holds no job that waits"
        lines = [f"expected {self} in queue {queue!r}, which holds:"]
        known = {job.id: self.faults(job) for job in jobs}
        nearest = sorted(jobs, key=lambda job: (job.task != self.task, len(known[job.id])))
        for job in nearest[:MOST_SHOWN]:
            lines.append(f"  {job}")
            if job.task == self.task:
                lines += [f"      {fault}" for fault in known[job.id]]
        if len(jobs) > MOST_SHOWN:
            lines.append(f"  and {len(jobs) - MOST_SHOWN} more")
        return "\n".join(lines)


def _argument_faults(expected: "dict[str, object]", job: "EnqueuedJob") -> list[str]:
    found: list[str] = []
    for name in dict.fromkeys((*expected, *job.arguments)):
        if name not in job.arguments:
            found.append(f"{name}: expected {expected[name]!r}, is not given")
        elif name not in expected:
            found.append(f"{name}: not expected, is {job.arguments[name]!r}")
        elif expected[name] != job.arguments[name]:
            found.append(f"{name}: expected {expected[name]!r}, is {job.arguments[name]!r}")
    return found


def expectation(
    core: "QueueCore",
    task: "Expected",
    args: "tuple[object, ...]",
    delay: Duration | None,
    within: Duration,
    lane: str | None,
    job_id: str | None,
) -> Expectation:
    """Return what the arguments of `assert_enqueued` say.

    Raises:
        UsageError: The arguments do not fit the task, or an option is invalid.
        PayloadError: An argument cannot be sent as JSON.
    """
    arguments: dict[str, object] | None = None
    if isinstance(task, Call):
        if args:
            raise UsageError(f"task {task.spec.name!r}: give its arguments to bind(...) only")
        spec = core.own_spec(task.spec)
        name, arguments = spec.name, _as_json(spec, task.args, task.kwargs)
    else:
        name = name_of(task)
        if args:
            arguments = _as_json(core.spec_of(name) or TaskSpec(name), args, {})
    wait = None if delay is None else seconds("delay", delay)
    return Expectation(name, arguments, wait, seconds("within", within), lane, job_id)


def _as_json(
    spec: TaskSpec, args: "tuple[object, ...]", kwargs: "dict[str, object]"
) -> "dict[str, object]":
    """Return arguments as the queue stores them: what is compared went the same way."""
    envelope = write_call(spec, args, kwargs, {})
    if lists_secrets(envelope):
        envelope = masked(envelope)
    assert call_of(envelope)[1] is not None, "it has just been written"
    return arguments_of(spec, envelope)
