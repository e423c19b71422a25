"""What a worker says of itself when it starts: never a password, nor the arguments of a job."""

import argparse
from collections.abc import Mapping

from aiostreamq import __version__
from aiostreamq.cli.option_sources import settings_of
from aiostreamq.client.core import core_of
from aiostreamq.model.schedules.cron import Cron
from aiostreamq.model.schedules.definition import Definition
from aiostreamq.model.terminal_text import visible
from aiostreamq.queue import Queue
from aiostreamq.worker.worker import Worker

# As many names as a screen bears; the rest is counted.
MOST_TASKS = 50
MOST_SCHEDULES = 10

_INDENT = "  "


def banner_of(queue: Queue, worker: Worker, server: str, args: argparse.Namespace) -> str:
    """Return what runs here, and with which settings."""
    address = core_of(queue).session().broker.connector.address
    name = worker.name if args.workers == 1 else f"{args.workers} processes"
    settings = settings_of(args, {"concurrency": worker.concurrency, "loop": args.loop})
    facts = {
        "queue": f"{queue.name}, lanes {', '.join(worker.lanes)}",
        "worker": f"{name}, concurrency {worker.concurrency}",
        f"tasks ({len(queue.tasks)})": _listed(sorted(queue.tasks), MOST_TASKS, ", "),
    }
    if core_of(queue).has_schedules and (declared := queue.schedules.declared):
        facts[f"schedules ({len(declared)})"] = _schedules(declared)
    facts["settings"] = settings
    width = max(map(len, facts)) + len(_INDENT)
    between = "\n" + " " * (width + len(_INDENT))
    lines = [
        f"{_INDENT}{label:<{width}}" + fact.replace("\n", between) for label, fact in facts.items()
    ]
    return "\n".join([f"aiostreamq {__version__} on {server} at {visible(address)}", *lines])


def _schedules(declared: Mapping[str, Definition]) -> str:
    timings = {name: one.timing for name, one in declared.items()}
    args = [
        f"{name}: {timing.in_english}" + (f" ({timing.zone})" if isinstance(timing, Cron) else "")
        for name, timing in sorted(timings.items())
    ]
    return _listed(args, MOST_SCHEDULES, "\n")


def _listed(names: list[str], most: int, between: str) -> str:
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*map(visible, names[:most]), *more])
