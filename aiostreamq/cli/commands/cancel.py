"""`aiostreamq jobs cancel`.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.cli.arguments import add_value, duration
from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.output import complain, print_json, say
from aiostreamq.errors import JobNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.outcome import JobState
    from aiostreamq.queue import Queue

T = TypeVar("T")

# Of jobs that have not ended.
STATES = ("delayed", "parked", "queued", "running")


def add_cancel(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the action to those of `aiostreamq jobs`."""
    cancel = add_parser(
        "cancel", help="cancel jobs", description="Cancel jobs, by their ids or by filters."
    )
    add_target(cancel, url)
    cancel.add_argument("ids", nargs="*", metavar="id", help="of jobs")
    cancel.add_argument("--task", help="only of this task")
    longer = "only if they wait or run for longer, as in 1h"
    add_value(cancel, "--older-than", duration, longer, metavar="TIME")
    cancel.add_argument(
        "--state", action="append", choices=STATES, help="only in this state; can be given again"
    )
    cancel.add_argument("--all", action="store_true", help="all that have not ended")
    add_json(cancel, "one object an id; of filters one object, with how many of each state")


def cancel(args: argparse.Namespace) -> int:
    """Cancel what was *args* on the command line; returns the exit code."""
    is_filtered = args.all or _has_filter(args)
    if bool(args.ids) == is_filtered:
        raise UsageError("it is not said which jobs are meant: give ids, or filters, or --all")
    return _cancel(args) if args.ids else _cancel_many(args)


def _has_filter(args: argparse.Namespace) -> bool:
    return bool(args.task or args.state) or args.older_than is not None


def _cancel(args: argparse.Namespace) -> int:
    async def cancel(queue: "Queue") -> "list[JobState | None]":
        found: list[JobState | None] = []
        for job_id in args.ids:
            try:
                found.append(await queue.job(job_id).cancel())
            except JobNotFound:
                found.append(None)
        return found

    states = ask(queue_of(args), cancel)
    for job_id, state in zip(args.ids, states, strict=True):
        if args.json:
            print_json({"id": job_id, "state": state})
        elif state is None:
            complain(f"{job_id}: there is no such job")
        elif state in STATES:
            say(f"{job_id}: cancelled, was {state}")
        else:
            say(f"{job_id}: had ended, {state}")
    return 1 if None in states else 0


def _cancel_many(args: argparse.Namespace) -> int:
    from aiostreamq.model.outcome import JobState

    caught = ask(
        queue_of(args),
        lambda queue: queue.cancel_many(
            task=args.task,
            older_than=args.older_than,
            state=[JobState(one) for one in args.state] if args.state else None,
            everything=args.all and not _has_filter(args),
        ),
    )
    if args.json:
        print_json(caught)
        return 0
    for state, count in caught.items():
        say(f"{state}: {count}")
    return 0
