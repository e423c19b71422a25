"""Workers, and the jobs that they run, as tables."""

from collections.abc import Collection, Iterator, Sequence

from aiostreamq.cli.output import ago
from aiostreamq.model.info import WorkerInfo

# The heads of the table of workers.
HEADS = ("WORKER", "STATE", "HOST", "PID", "VERSION", "LANES", "RUNNING", "SEEN", "TASKS")

# The heads of the second table, which is printed if a worker runs a job.
JOB_HEADS = ("WORKER", "JOB", "TASK", "ATTEMPT", "RUNS FOR")


def as_row(worker: WorkerInfo) -> tuple[str, ...]:
    """Return the row of a table for a worker, under HEADS."""
    state = "lost" if worker.is_lost else worker.state or "-"
    if worker.stuck_threads:
        state += f" ({worker.stuck_threads} threads stuck)"
    return (
        worker.name,
        state,
        worker.host or "-",
        str(worker.pid or "-"),
        worker.version or "-",
        _named(worker.lanes, {pause.lane for pause in worker.paused}),
        f"{worker.running} of {worker.concurrency}",
        "-" if worker.last_seen_seconds is None else f"{ago(worker.last_seen_seconds)} ago",
        _named(worker.tasks, {pause.task for pause in worker.paused}),
    )


def job_rows(worker: WorkerInfo) -> Iterator[tuple[str, ...]]:
    """Give the rows of a table for the jobs that a worker runs, under JOB_HEADS."""
    for job in worker.jobs:
        yield worker.name, job.id, job.task, str(job.attempt), ago(job.age)


def _named(names: Sequence[str], paused: Collection[str | None]) -> str:
    shown = [f"{name} (paused)" if name in paused else name for name in names]
    return ", ".join(shown) or "-"
