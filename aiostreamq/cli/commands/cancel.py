"""`aiostreamq jobs cancel`."""

import argparse
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import complain, print_json, say
from aiostreamq.errors import JobNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.job_state import JobState
    from aiostreamq.queue import Queue

T = TypeVar("T")

# The states of jobs that have not ended.
STATES = ("delayed", "held", "parked", "queued", "running")


def add_cancel(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add `cancel` to the actions of `aiostreamq jobs`."""
    cancel = add_parser(
        "cancel", help="cancel jobs", description="Cancel jobs by their ids or by filters."
    )
    add_target(cancel, rest="ids")
    cancel.add_argument("ids", nargs="*", metavar="id", help="the id of a job")
    which = cancel.add_argument_group("which jobs, without ids")
    which.add_argument("--task", help="only jobs of this task")
    longer = "only jobs that have waited or run for longer than this, as in 1h"
    add_value(which, "--older-than", duration, longer, metavar="TIME")
    which.add_argument(
        "--state", action="append", choices=STATES, help="only jobs in this state; may be repeated"
    )
    which.add_argument("--all", action="store_true", help="all jobs that have not ended")
    add_json(cancel, "an object for each id; with filters, the number of jobs by state")


def cancel(args: argparse.Namespace) -> int:
    """Run `aiostreamq jobs cancel` and return the exit code."""
    is_filtered = args.all or _has_filter(args)
    if bool(args.ids) == is_filtered:
        raise UsageError("no jobs are selected: give ids, filters or --all")
    return _cancel_ids(args) if args.ids else _cancel_many(args)


def _has_filter(args: argparse.Namespace) -> bool:
    return bool(args.task or args.state) or args.older_than is not None


def _cancel_ids(args: argparse.Namespace) -> int:
    async def cancel_each(queue: "Queue") -> "list[JobState | None]":
        found: list[JobState | None] = []
        for job_id in args.ids:
            try:
                found.append(await queue.job(job_id).cancel())
            except JobNotFound:
                found.append(None)
        return found

    states = ask(queue_of(args), cancel_each)
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
    from aiostreamq.model.job_state import JobState

    cancelled = ask(
        queue_of(args),
        lambda queue: queue.cancel_many(
            task=args.task,
            older_than=args.older_than,
            state=[JobState(one) for one in args.state] if args.state else None,
            everything=args.all and not _has_filter(args),
        ),
    )
    if args.json:
        print_json(cancelled)
        return 0
    for state, count in cancelled.items():
        say(f"{state}: {count}")
    return 0
