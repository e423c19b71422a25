"""`aiostreamq enqueue`: enqueue a job."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.arguments import add_value, duration
from aiostreamq.cli.connect import add_import, add_json, add_target, ask, parsed_json, queue_of
from aiostreamq.cli.output import print_json, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.queue import Queue


def add_enqueue(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`; *url* is the default of --url."""
    enqueue = add_parser(
        "enqueue", help="enqueue a job", description="Enqueue a job and print its id."
    )
    add_target(enqueue, url)
    add_import(enqueue)
    enqueue.add_argument("task", help="name of the task")
    enqueue.add_argument("--args", metavar="JSON", default="[]", help="as in '[1, \"two\"]'")
    enqueue.add_argument("--kwargs", metavar="JSON", default="{}", help="as in '{\"tenant\": 7}'")
    enqueue.add_argument("--id", help="the job's id; enqueued twice, it runs once")
    enqueue.add_argument("--lane", help="over the task's own")
    add_value(enqueue, "--delay", duration, "run it after a while, as in 10m", metavar="TIME")
    add_json(enqueue, "one object with the id")


def enqueue(args: argparse.Namespace) -> int:
    """Do what was *args* on the command line; returns the exit code."""
    positional = parsed_json("--args", args.args, list[object])
    keywords = parsed_json("--kwargs", args.kwargs, dict[str, object])
    given = {"id": args.id, "lane": args.lane, "delay": args.delay}
    options = {name: value for name, value in given.items() if value is not None}

    async def put(queue: "Queue") -> str:
        task = queue.tasks.get(args.task)
        if task is None:
            known = ", ".join(sorted(queue.tasks)) or "none"
            raise UsageError(f"queue {queue.name!r} has no task {args.task!r}; it has: {known}")
        using = task.using(**options)
        return (await using.enqueue(*positional, **keywords)).id

    job_id = ask(queue_of(args), put)
    print_json({"id": job_id}) if args.json else say(job_id)
    return 0
