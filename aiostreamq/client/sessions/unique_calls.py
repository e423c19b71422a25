"""Calls of tasks that have keys, on their way into Redis."""

from typing import TYPE_CHECKING

from aiostreamq.errors import AlreadyEnqueued, UsageError
from aiostreamq.model import unique
from aiostreamq.model.delivery import UniqueSubmission
from aiostreamq.model.functions.call_key import digest_of
from aiostreamq.model.task import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.client.call import Using
    from aiostreamq.client.job import Job
    from aiostreamq.errors import AioStreamQError
    from aiostreamq.model.delivery import Submission
    from aiostreamq.model.task import TaskSpec


def with_key(
    plain: "Submission",
    job: "Job[object]",
    spec: "TaskSpec",
    using: "Using",
    args: "Sequence[object]",
    kwargs: "Mapping[str, object]",
) -> UniqueSubmission:
    """Return a job with its key, ready for Redis.

    Args:
        plain: The job without it.
        job: Its handle, which becomes that of the job that holds the key if another one does.
        spec: Its task.
        using: Its options, with the rule.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        UsageError: The key function raised, an argument of the key is missing, or a job has a delay
            whose rule says when it runs.
        PayloadError: The key is not plain JSON.
    """
    rule, keep_ms = using.options.unique, milliseconds(using.options.result_ttl)
    assert rule is not None
    digest = digest_of(rule, spec.name, spec.signature, args, kwargs)
    raises = rule.on_conflict == "raise"

    def meet(holder: str) -> "AioStreamQError | None":
        if raises:
            return _conflict(spec.name, rule, holder)
        job.become(holder)
        return None

    job_id, place, mark, envelope = plain
    due = "" if using.due is None else using.due.to_wire()
    if due and rule.held in ("moved", "latest"):
        raise UsageError(
            f"task {spec.name!r} has {rule.option}=..., which says when its jobs run: leave delay "
            f"and at out, or use {rule.option}=None with them"
        )
    if rule.held == "moved":
        due = f"+{rule.window_ms}"
    wire, held = unique.wire(rule, keep_ms), unique.with_key(envelope, rule, digest)
    return UniqueSubmission(job_id, place, mark, due, wire, digest, meet, held)


_OPEN = {
    "done": ("has not ended", "it has ended"),
    "started": ("has not started", "it has started"),
    "window": ("was enqueued a short time ago", "its window is over"),
    "moved": ("waits", "it has started"),
}


def _conflict(task: str, rule: "unique.Rule", holder: str) -> AlreadyEnqueued:
    state, later = _OPEN[rule.held]
    return AlreadyEnqueued(
        f"task {task!r}: job {holder!r} has the same key and {state}, so nothing was enqueued: "
        f"await that job, as with queue.job({holder!r}), or enqueue again when {later}",
        job_id=holder,
    )
