"""`aiostreamq info` and `aiostreamq workers`: the counts of a queue, and its workers."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import ago, complain, pause_line, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aiostreamq.model.info import Latency, QueueInfo, TaskInfo, WorkerInfo
    from aiostreamq.queue import Queue

# Seconds between two updates of --watch: the default, and the least.
EVERY = "2"
SHORTEST = 0.1

_CLEAR = "\x1b[H\x1b[2J"


def add_info(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command; *url* is the default of --url."""
    info = add_parser(
        "info",
        help="show the counts of a queue",
        description="Show how many jobs wait, run, are delayed, parked or dead, by lane and by "
        "task, and how many ended recently and how fast.",
    )
    add_target(info, url)
    recently = "the period of rates and latencies (default: %(default)s)"
    add_value(info, "--window", duration, recently, metavar="TIME", default="5m")
    info.add_argument("--watch", action="store_true", help="update until Ctrl-C")
    often = "the time between updates (default: %(default)s)"
    read_every = partial(duration, least=SHORTEST)
    add_value(info, "--every", read_every, often, metavar="TIME", default=EVERY)
    add_json(info, "an object for each update")


def add_workers(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command; *url* is the default of --url."""
    workers = add_parser(
        "workers",
        help="show the workers of a queue",
        description="Show the workers of a queue and the jobs that they run, as of the last "
        "heartbeat of each: three times per lease, once per lease while it is idle.",
    )
    add_target(workers, url)
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
    found = ask(queue_of(args), lambda queue: queue.workers())
    if args.json:
        for worker in found:
            print_json(worker)
        return 0
    if not found:
        complain("no worker has joined")
        return 0
    heads = ("WORKER", "STATE", "HOST", "PID", "VERSION", "LANES", "RUNNING", "SEEN", "TASKS")
    print_table(heads, [_worker(worker) for worker in found])
    jobs = [
        (worker.name, job.id, job.task, str(job.attempt), ago(job.age))
        for worker in found
        for job in worker.jobs
    ]
    if jobs:
        print()
        print_table(("WORKER", "JOB", "TASK", "ATTEMPT", "RUNS FOR"), jobs)
    return 0


def _print_info(seen: "QueueInfo", args: argparse.Namespace) -> None:
    if args.json:
        print_json(seen)
        sys.stdout.flush()
        return
    if args.watch and sys.stdout.isatty():
        print(_CLEAR, end="")
    due = "" if seen.next_due is None else f", next due {seen.next_due:%Y-%m-%d %H:%M:%S} UTC"
    say(
        f"queue {seen.name} at {seen.at:%Y-%m-%d %H:%M:%S} UTC\n"
        f"{seen.waiting} waiting (oldest {ago(seen.oldest_age)}), {seen.running} running, "
        f"{seen.delayed} delayed{due}, {seen.parked} parked, {seen.dead} dead\n"
        f"{seen.rate:.1f} jobs/s in the last {ago(seen.window)}\n"
    )
    for pause in seen.paused:
        say(pause_line(pause))
    lanes = [(x.name, str(x.waiting), str(x.running), ago(x.oldest_age)) for x in seen.lanes]
    print_table(("LANE", "WAITING", "RUNNING", "OLDEST"), lanes)
    if seen.tasks:
        print()
        heads = ("TASK", "WAITING", "RUNNING", "DELAYED", "PARKED", "DEAD")
        heads += ("ENDED", "FAILED", "CANCELLED", "JOBS/S", "RAN P50/P95/P99", "WAITED P50/P95/P99")
        print_table(heads, [_task(task) for task in seen.tasks])
    sys.stdout.flush()


def _task(task: "TaskInfo") -> tuple[str, ...]:
    about = "~" if task.is_estimate else ""
    return (
        task.name,
        f"{about}{task.waiting}",
        f"{about}{task.running}",
        f"{about}{task.delayed}",
        str(task.parked),
        f"{about}{task.dead}",
        str(sum(task.ended.values())),
        _ended(task, "failed", "timed_out", "dead"),
        _ended(task, "cancelled"),
        f"{task.rate:.1f}",
        _latency(task.run_latency),
        _latency(task.wait_latency),
    )


def _ended(task: "TaskInfo", *states: str) -> str:
    return str(sum(count for state, count in task.ended.items() if state in states))


def _latency(latency: "Latency | None") -> str:
    if latency is None:
        return "-"
    return " / ".join(map(ago, (latency.p50, latency.p95, latency.p99)))


def _worker(worker: "WorkerInfo") -> tuple[str, ...]:
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


def _named(names: "Sequence[str]", paused: "Collection[str | None]") -> str:
    shown = [f"{name} (paused)" if name in paused else name for name in names]
    return ", ".join(shown) or "-"
