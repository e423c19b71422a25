"""`aiostreamq info` and `aiostreamq workers`: the counts of a queue, and its workers."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import complain, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.info import QueueInfo
    from aiostreamq.queue import Queue

# Seconds between two updates of --watch: the default, and the least.
EVERY = "2"
SHORTEST = 0.1

_CLEAR = "\x1b[H\x1b[2J"


def add_info(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    info = add_parser(
        "info",
        help="show the counts of a queue",
        description="Show how many jobs wait, run, are delayed, held, parked or dead, by lane and "
        "by task, and how many ended recently and how fast.",
    )
    add_target(info)
    recently = "the period of rates and latencies (default: %(default)s)"
    add_value(info, "--window", duration, recently, metavar="TIME", default="5m")
    info.add_argument("--watch", action="store_true", help="update until Ctrl-C")
    often = "the time between updates (default: %(default)s)"
    read_every = partial(duration, least=SHORTEST)
    add_value(info, "--every", read_every, often, metavar="TIME", default=EVERY)
    add_json(info, "an object for each update")


def add_workers(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    workers = add_parser(
        "workers",
        help="show the workers of a queue",
        description="Show the workers of a queue and the jobs that they run, as of the last "
        "heartbeat of each: three times per lease, once per lease while it is idle.",
    )
    add_target(workers)
    add_json(workers, "an object for each worker")


def info(args: argparse.Namespace) -> int:
    """Run `aiostreamq info` and return the exit code."""
    queue = queue_of(args)

    async def show(queue: "Queue") -> None:
        _print_info(await queue.info(window=args.window), args)

    async def watch(queue: "Queue") -> None:
        import asyncio

        while True:
            await show(queue)
            await asyncio.sleep(args.every)

    try:
        ask(queue, watch if args.watch else show)
    except KeyboardInterrupt:
        if not args.watch:
            raise
    return 0


def workers(args: argparse.Namespace) -> int:
    """Run `aiostreamq workers` and return the exit code."""
    from aiostreamq.cli.format.workers import HEADS, JOB_HEADS, as_row, job_rows

    found = ask(queue_of(args), lambda queue: queue.workers())
    if args.json:
        for worker in found:
            print_json(worker)
        return 0
    if not found:
        complain("no worker has joined")
        return 0
    print_table(HEADS, [as_row(worker) for worker in found])
    if jobs := [row for worker in found for row in job_rows(worker)]:
        print()
        print_table(JOB_HEADS, jobs)
    return 0


def _print_info(seen: "QueueInfo", args: argparse.Namespace) -> None:
    from aiostreamq.cli.format.info import LANE_HEADS, TASK_HEADS, as_text, lane_row, task_row

    if args.json:
        print_json(seen)
        sys.stdout.flush()
        return
    if args.watch and sys.stdout.isatty():
        print(_CLEAR, end="")
    say(as_text(seen))
    print_table(LANE_HEADS, [lane_row(lane) for lane in seen.lanes])
    if seen.tasks:
        print()
        print_table(TASK_HEADS, [task_row(task) for task in seen.tasks])
    sys.stdout.flush()
