"""`aiostreamq enqueue`: enqueue a job."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.call_arguments import add_call_arguments, call_arguments
from aiostreamq.cli.connect import (
    add_import,
    add_json,
    add_target,
    ask,
    queue_of,
    warn_of_unknown_task,
)
from aiostreamq.cli.named_queue import warn_of_unchecked
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import print_json, say
from aiostreamq.errors import UsageError
from aiostreamq.model.options import DEFAULT_LANE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.task import Enqueuer
    from aiostreamq.queue import Queue


def add_enqueue(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    enqueue = add_parser(
        "enqueue", help="enqueue a job", description="Enqueue a job and print its id."
    )
    add_target(enqueue, task="the name of the task")
    add_import(enqueue)
    job = enqueue.add_argument_group("the job")
    add_call_arguments(job)
    job.add_argument("--id", help="the id of the job; if it is taken, no second job is made")
    job.add_argument("--lane", help="the lane, instead of the task's own")
    add_value(job, "--delay", duration, "start it after this time, as in 10m", metavar="TIME")
    add_json(enqueue, "an object with the id")


def enqueue(args: argparse.Namespace) -> int:
    """Run `aiostreamq enqueue` and return the exit code."""
    queue = queue_of(args)
    task = _task_of(queue, args)
    positional, keywords = call_arguments(args, queue)
    given = {"id": args.id, "lane": args.lane, "delay": args.delay}
    options = {name: value for name, value in given.items() if value is not None}

    call = task.using(**options)
    job = ask(queue, lambda _: call.enqueue(*positional, **keywords))
    print_json({"id": job.id}) if args.json else say(job.id)
    warn_of_unchecked(queue, args, "the arguments, and the options of the task (defaults hold)")
    if args.target is None:
        warn_of_unknown_task(queue, args)
    return 0


def _task_of(queue: "Queue", args: argparse.Namespace) -> "Enqueuer[..., object]":
    task = queue.tasks.get(args.task)
    if task is not None:
        return task
    if args.target is not None:
        known = ", ".join(sorted(queue.tasks)) or "none"
        raise UsageError(f"queue {queue.name!r} has no task {args.task!r}; it has: {known}")
    if args.lane is None and DEFAULT_LANE not in queue.lanes:
        raise UsageError(
            f"the lane of task {args.task!r} is known to its code only: give --lane, one of "
            f"{', '.join(queue.lanes)}"
        )
    return queue.named(args.task)
