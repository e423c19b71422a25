"""What a worker says of itself when it starts: never a password, nor the arguments of a job."""

import argparse

from aiostreamq import __version__
from aiostreamq.cli.sources import settings_of
from aiostreamq.model.cron import Cron
from aiostreamq.model.visible import visible
from aiostreamq.queue import Queue
from aiostreamq.worker.worker import Worker

# As many names as a screen bears; the rest is counted.
MOST_TASKS = 50
MOST_SCHEDULES = 10

_INDENT = 15


def banner_of(queue: Queue, worker: Worker, server: str, told: argparse.Namespace) -> str:
    """Return what runs here, and with which settings."""
    address = queue.session().broker.connector.address
    name = worker.name if told.workers == 1 else f"{told.workers} processes"
    settings = settings_of(told, {"concurrency": worker.concurrency, "loop": told.loop})
    facts = {
        "queue": f"{queue.name}, lanes {', '.join(worker.lanes)}",
        "worker": f"{name}, concurrency {worker.concurrency}",
        f"tasks ({len(queue.tasks)})": _listed(sorted(queue.tasks), MOST_TASKS, ", "),
        **_schedules(queue),
        "settings": settings,
    }
    lines = [f"  {label:<{_INDENT - 2}}{fact}" for label, fact in facts.items()]
    return "\n".join([f"aiostreamq {__version__} on {server} at {visible(address)}", *lines])


def _schedules(queue: Queue) -> dict[str, str]:
    if not queue.has_schedules:
        return {}
    timings = {name: one.timing for name, one in queue.schedules.declared.items()}
    if not timings:
        return {}
    told = [
        f"{name}: {timing.words}" + (f" ({timing.zone})" if isinstance(timing, Cron) else "")
        for name, timing in sorted(timings.items())
    ]
    return {f"schedules ({len(told)})": _listed(told, MOST_SCHEDULES, "\n" + " " * _INDENT)}


def _listed(names: list[str], most: int, between: str) -> str:
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*map(visible, names[:most]), *more])
