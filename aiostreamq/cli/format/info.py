"""The counts of a queue as text, and as tables of its lanes and its tasks."""

from aiostreamq.cli.output import ago, pause_line
from aiostreamq.model.info import LaneInfo, Latency, QueueInfo, TaskInfo

LANE_HEADS = ("LANE", "WAITING", "RUNNING", "OLDEST", "HELD")

TASK_HEADS = (
    *("TASK", "WAITING", "RUNNING", "DELAYED", "HELD", "PARKED", "DEAD"),
    *("ENDED", "FAILED", "CANCELLED", "JOBS/S", "RAN P50/P95/P99", "WAITED P50/P95/P99"),
)


def as_text(queue: QueueInfo) -> str:
    """Return the counts of a whole queue, and what is paused there."""
    due = "" if queue.next_due is None else f", next due {queue.next_due:%Y-%m-%d %H:%M:%S} UTC"
    counts = (
        f"{queue.waiting} waiting (oldest {ago(queue.oldest_age)}), {queue.running} running, "
        f"{queue.delayed} delayed{due}, {queue.parked} parked, {queue.dead} dead"
    )
    if queue.held:
        counts += f"\n{queue.held} held by limits, {queue.admittable} of them may have room"
    return "\n".join(
        [
            f"queue {queue.name} at {queue.at:%Y-%m-%d %H:%M:%S} UTC",
            counts,
            f"{queue.rate:.1f} jobs/s in the last {ago(queue.window)}",
            "",
            *map(pause_line, queue.paused),
        ]
    )


def lane_row(lane: LaneInfo) -> tuple[str, ...]:
    """Return the row of a table for a lane, under LANE_HEADS."""
    return lane.name, str(lane.waiting), str(lane.running), ago(lane.oldest_age), str(lane.held)


def task_row(task: TaskInfo) -> tuple[str, ...]:
    """Return the row of a table for a task, under TASK_HEADS."""
    about = "~" if task.is_estimate else ""
    return (
        task.name,
        f"{about}{task.waiting}",
        f"{about}{task.running}",
        f"{about}{task.delayed}",
        f"{about}{task.held}",
        str(task.parked),
        f"{about}{task.dead}",
        str(sum(task.ended.values())),
        _ended(task, "failed", "timed_out", "dead"),
        _ended(task, "cancelled"),
        f"{task.rate:.1f}",
        _latency(task.run_latency),
        _latency(task.wait_latency),
    )


def _ended(task: TaskInfo, *states: str) -> str:
    return str(sum(count for state, count in task.ended.items() if state in states))


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "-"
    return " / ".join(map(ago, (latency.p50, latency.p95, latency.p99)))
