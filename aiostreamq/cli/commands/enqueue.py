"""`aiostreamq enqueue`: enqueue a job."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.call_arguments import add_call_arguments, call_arguments
from aiostreamq.cli.connect import add_import, add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import print_json, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def add_enqueue(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command; *url* is the default of --url."""
    enqueue = add_parser(
        "enqueue", help="enqueue a job", description="Enqueue a job and print its id."
    )
    add_target(enqueue, url)
    add_import(enqueue)
    enqueue.add_argument("task", help="the name of the task")
    add_call_arguments(enqueue)
    enqueue.add_argument("--id", help="the id of the job; if it is taken, no second job is made")
    enqueue.add_argument("--lane", help="the lane, instead of the task's own")
    add_value(enqueue, "--delay", duration, "start it after this time, as in 10m", metavar="TIME")
    add_json(enqueue, "an object with the id")


def enqueue(args: argparse.Namespace) -> int:
    """Run `aiostreamq enqueue` and return the exit code."""
    queue = queue_of(args)
    task = queue.tasks.get(args.task)
    if task is None:
        known = ", ".join(sorted(queue.tasks)) or "none"
        raise UsageError(f"queue {queue.name!r} has no task {args.task!r}; it has: {known}")
    positional, keywords = call_arguments(args, queue)
    given = {"id": args.id, "lane": args.lane, "delay": args.delay}
    options = {name: value for name, value in given.items() if value is not None}

    call = task.using(**options)
    job = ask(queue, lambda _: call.enqueue(*positional, **keywords))
    print_json({"id": job.id}) if args.json else say(job.id)
    return 0
