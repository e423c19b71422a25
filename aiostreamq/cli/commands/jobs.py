"""`aiostreamq jobs`: list jobs, show one, wait for its result, cancel some."""

import argparse
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiostreamq.cli.commands.cancel import add_cancel, cancel
from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.named_queue import arguments_for
from aiostreamq.cli.option_values import add_value, duration, whole
from aiostreamq.cli.output import json_line, print_json, print_listing, say
from aiostreamq.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.info import JobInfo
    from aiostreamq.queue import Queue

# The default of --limit.
LISTED = 100

# Seconds to read the result of a job that has ended.
READ_TIMEOUT = 10.0

_LIVE = {"queued", "running", "delayed", "held", "parked"}


def add_jobs(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    jobs = add_parser(
        "jobs", help="list, show and cancel jobs", description="List, show and cancel jobs."
    )
    actions = jobs.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser(
        "ls",
        help="list jobs",
        description="List the jobs that run, wait, are delayed, held or parked, and those that "
        "ended recently, the newest first.",
    )
    add_target(ls)
    which = ls.add_argument_group("which jobs")
    which.add_argument(
        "--state", action="append", help="only jobs in this state, such as failed; may be repeated"
    )
    which.add_argument("--task", help="only jobs of this task")
    which.add_argument("--tag", help="only jobs with this tag")
    which.add_argument("--header", metavar="NAME=VALUE", help="only jobs with this header")
    since = "only jobs that came into their state within this time, as in 10m"
    add_value(which, "--since", duration, since, metavar="TIME")
    add_value(which, "--limit", whole, "how many at most (default: %(default)s)", default=LISTED)
    add_json(ls, "an object for each job")
    show = actions.add_parser("show", help="show a job in full", description="Show a job in full.")
    add_target(show, id="the id of the job")
    add_json(show, "an object")
    result = actions.add_parser(
        "result",
        help="print the result of a job",
        description="Print the result of a job as JSON, or its error with exit code 1.",
    )
    add_target(result, id="the id of the job")
    wait = "how long to wait for the end of the job (default: %(default)s)"
    add_value(result, "--wait", duration, wait, metavar="TIME", default="0")
    add_json(result, "an object with the value, or with error and message")
    add_cancel(actions.add_parser)


def jobs(args: argparse.Namespace) -> int:
    """Run an action of `aiostreamq jobs` and return the exit code."""
    if args.action == "cancel":
        return cancel(args)
    actions = {"ls": _ls, "show": _show, "result": _result}
    return actions[args.action](queue_of(args), args)


def _header(given: str) -> tuple[str, str]:
    name, separator, value = given.partition("=")
    if not separator:
        raise UsageError(f"--header {given!r}: give a name and a value, as in tenant=acme")
    return name, value


def _ls(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.jobs import HEADS, as_row

    async def newest(queue: "Queue") -> "list[JobInfo]":
        found: list[JobInfo] = []
        since = args.since
        jobs = queue.jobs(
            state=args.state, task=args.task, since=since, tag=args.tag, header=header
        )
        async with aclosing(jobs) as listed:
            async for job in listed:
                found.append(job)
                if len(found) > args.limit:
                    break
        return found

    header = None if args.header is None else _header(args.header)
    found = ask(queue, newest)
    print_listing(
        found,
        heads=HEADS,
        as_row=as_row,
        as_json=json_line,
        is_json=args.json,
        none="no such jobs",
        limit=args.limit,
        more=lambda _: f"--limit {10 * args.limit}",
    )
    return 0


def _show(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.jobs import as_page

    job = ask(queue, lambda queue: queue.job(args.id).info())
    if args.json:
        print_json(job)
        return 0
    say(as_page(job, arguments_for(args)))
    return 0


def _result(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.errors import JobNotFound, WaitTimeout

    async def wait(queue: "Queue") -> object:
        job = queue.job(args.id)
        if not args.wait and await job.status() in _LIVE:
            raise WaitTimeout
        return await job.result(timeout=args.wait or READ_TIMEOUT)

    try:
        value = ask(queue, wait)
    except WaitTimeout:
        raise UsageError(
            f"job {args.id!r} has not ended: wait with --wait, or see its state with `jobs show`"
        ) from None
    except JobError as error:
        if not args.json or isinstance(error, JobNotFound):
            raise
        print_json({"id": args.id, "error": type(error).__name__, "message": str(error)})
        return 1
    print_json({"id": args.id, "value": value} if args.json else value)
    return 0
