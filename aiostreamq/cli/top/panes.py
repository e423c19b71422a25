"""The panes of `aiostreamq top` as rows of text, for a screen and for an output without one."""

from typing import TYPE_CHECKING

from aiostreamq.cli.output import ago
from aiostreamq.client.doctor import PROBLEM
from aiostreamq.model.record import record
from aiostreamq.model.terminal_text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.cli.top.look import Look
    from aiostreamq.model.info import TaskInfo, WorkerInfo

LANES, TASKS, JOBS, WORKERS, LETTERS, FINDINGS = (
    *("lanes", "tasks", "running jobs"),
    *("workers", "dead letters", "findings"),
)

_FAILURES = ("failed", "timed_out", "dead")
_BARS = "▁▂▃▄▅▆▇█"


@record
class Row:
    """One row of a pane."""

    key: str  #: what actions are about: a name or an id
    cells: tuple[str, ...]
    is_paused: bool = False
    is_bad: bool = False


@record
class Pane:
    """One part of the screen."""

    name: str
    heads: tuple[str, ...]
    widest: int  #: the column that takes what the others leave, and is cut
    rows: tuple[Row, ...]


def panes_of(look: "Look") -> tuple[Pane, ...]:
    """Return the panes, in the order in which a key goes through them."""
    return (
        _lanes(look),
        _tasks(look),
        _jobs(look),
        Pane(WORKERS, ("WORKER", "STATE", "SLOTS", "SEEN"), 0, tuple(map(_worker, look.workers))),
        _letters(look),
        _findings(look),
    )


def headline(look: "Look") -> str:
    """Return the counts of the whole queue on one line."""
    info = look.info
    held = f", {info.held} held" if info.held else ""
    return visible(
        f"{info.name}  {info.waiting} waiting, {info.running} running, {info.delayed} delayed"
        f"{held}, {info.dead} dead  {info.rate:.1f} jobs/s  {info.at:%H:%M:%S} UTC"
    )


def sparkline(counts: "Sequence[int]") -> str:
    """Return a bar for each count.

    >>> sparkline([0, 1, 2, 4])
    '▁▂▄█'
    """
    most = max(counts, default=0)
    return "".join(_BARS[count * (len(_BARS) - 1) // most if most else 0] for count in counts)


def _lanes(look: "Look") -> Pane:
    paused = {pause.lane for pause in look.info.paused}
    rows = [
        Row(
            lane.name,
            _cells(_named(lane.name, lane.name in paused), lane.waiting, ago(lane.oldest_age)),
            is_paused=lane.name in paused,
        )
        for lane in look.info.lanes
    ]
    return Pane(LANES, ("LANE", "WAITING", "OLDEST"), 0, tuple(rows))


def _tasks(look: "Look") -> Pane:
    paused = {pause.task for pause in look.info.paused}
    rows = [
        _task(task, look.trends.get(task.name, []), is_paused=task.name in paused)
        for task in look.info.tasks
    ]
    return Pane(TASKS, ("TASK", "JOBS/S", "P95", "FAILED", "10 MIN"), 0, tuple(rows))


def _task(task: "TaskInfo", trend: "Sequence[int]", *, is_paused: bool) -> Row:
    failed = sum(count for state, count in task.ended.items() if state in _FAILURES)
    p95 = "-" if task.run_latency is None else ago(task.run_latency.p95)
    name = _named(task.name, is_paused)
    cells = _cells(name, f"{task.rate:.1f}", p95, failed, sparkline(trend[-8:]))
    return Row(task.name, cells, is_paused=is_paused, is_bad=failed > 0)


def _jobs(look: "Look") -> Pane:
    running = [(job, worker) for worker in look.workers for job in worker.jobs]
    running.sort(key=lambda pair: pair[0].age, reverse=True)
    rows = [
        Row(job.id, _cells(ago(job.age), job.task, job.id, worker.name)) for job, worker in running
    ]
    return Pane(JOBS, ("AGE", "TASK", "JOB", "WORKER"), 2, tuple(rows))


def _worker(worker: "WorkerInfo") -> Row:
    seen = "-" if worker.last_seen_seconds is None else ago(worker.last_seen_seconds)
    state = "lost" if worker.is_lost else worker.state or "-"
    slots = f"{worker.running}/{worker.concurrency}"
    return Row(worker.name, _cells(worker.name, state, slots, seen), is_bad=worker.is_lost)


def _letters(look: "Look") -> Pane:
    now = look.info.at
    rows = [
        Row(
            letter.id,
            _cells(
                ago(max((now - letter.died_at).total_seconds(), 0.0)),
                letter.task or "-",
                letter.error,
                letter.message,
            ),
        )
        for letter in look.letters
    ]
    return Pane(LETTERS, ("AGO", "TASK", "ERROR", "MESSAGE"), 3, tuple(rows))


def _findings(look: "Look") -> Pane:
    rows = [
        Row(one.subject, _cells(one.subject, one.text), is_bad=one.level == PROBLEM)
        for one in look.findings
    ]
    return Pane(FINDINGS, ("SUBJECT", "WHAT"), 1, tuple(rows))


def _named(name: str, is_paused: bool) -> str:
    return f"{name} (paused)" if is_paused else name


def _cells(*values: object) -> tuple[str, ...]:
    """Return cells that cannot control a terminal."""
    return tuple(visible(str(value)) for value in values)
