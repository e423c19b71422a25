"""The first lines of a worker. They hold no password, and no arguments of jobs."""

import argparse
import logging
from collections.abc import Mapping

from aiostreamq import __version__
from aiostreamq.cli.option_sources import settings_of
from aiostreamq.client.core import core_of
from aiostreamq.model.schedules.timing import Cron
from aiostreamq.model.terminal_text import visible
from aiostreamq.queue import Queue
from aiostreamq.store.connection.server import MEMORY
from aiostreamq.worker.logs.formatters import JsonFormatter
from aiostreamq.worker.worker import Worker

# How many names fit on a screen. The rest is counted.
MOST_TASKS = 50
MOST_SCHEDULES = 10

_INDENT = "  "


def banner_of(queue: Queue, worker: Worker, server: str, args: argparse.Namespace) -> str:
    """Return what runs here and with which settings: a table, or with --log-format json a line."""
    address = visible(core_of(queue).session().store.connector.address)
    place = "memory://, in this process" if server == MEMORY.name else f"{server} at {address}"
    title = f"aiostreamq {__version__} on {place}"
    settings = settings_of(args, {"concurrency": worker.concurrency, "loop": args.loop})
    schedules = _schedules_of(queue)
    if args.log_format == "json":
        return _as_json(
            title,
            queue=queue.name,
            lanes=worker.lanes,
            worker=worker.name,
            processes=args.workers,
            tasks=sorted(queue.tasks),
            schedules=schedules,
            settings=settings,
        )
    name = worker.name if args.workers == 1 else f"{args.workers} processes"
    facts = {
        "queue": f"{queue.name}, lanes {', '.join(worker.lanes)}",
        "worker": f"{name}, concurrency {worker.concurrency}",
        f"tasks ({len(queue.tasks)})": _listed(sorted(queue.tasks), MOST_TASKS, ", "),
    }
    if schedules:
        lines = [f"{name}: {timing}" for name, timing in schedules.items()]
        facts[f"schedules ({len(schedules)})"] = _listed(lines, MOST_SCHEDULES, "\n")
    facts["settings"] = settings
    return _as_table(title, facts)


def _as_json(title: str, **fields: object) -> str:
    record = logging.makeLogRecord({"name": "aiostreamq.cli", "msg": title, **fields})
    record.levelname = logging.getLevelName(logging.INFO)
    return JsonFormatter().format(record)


def _as_table(title: str, facts: Mapping[str, str]) -> str:
    width = max(map(len, facts)) + len(_INDENT)
    between = "\n" + " " * (width + len(_INDENT))
    lines = [
        f"{_INDENT}{label:<{width}}" + fact.replace("\n", between) for label, fact in facts.items()
    ]
    return "\n".join([title, *lines])


def _schedules_of(queue: Queue) -> dict[str, str]:
    """Return when each declared schedule is due, in English, by its name."""
    declared = core_of(queue).declared_definitions()
    timings = {name: each.timing for name, each in sorted(declared.items())}
    return {
        name: timing.in_english + (f" ({timing.zone})" if isinstance(timing, Cron) else "")
        for name, timing in timings.items()
    }


def _listed(names: list[str], most: int, between: str) -> str:
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*map(visible, names[:most]), *more])
