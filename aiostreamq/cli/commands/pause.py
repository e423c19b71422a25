"""`aiostreamq pause` and `aiostreamq resume`."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of, warn_of_unknown_task
from aiostreamq.cli.option_values import duration
from aiostreamq.cli.output import complain, pause_line, print_json, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiostreamq.cli.parser import Options
    from aiostreamq.model.duration import Duration
    from aiostreamq.queue import Queue


def add_pause(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    pause = add_parser(
        "pause",
        help="pause a task or a lane",
        description="Pause a task or a lane: its jobs wait until it is resumed. Without --task and "
        "--lane, list the pauses.",
    )
    add_target(pause)
    _add_subject(pause).add_argument(
        "--until",
        metavar="WHEN",
        help="resume after this time, as in 30m, or at a moment with its offset, as in "
        "2030-01-31T09:00:00+01:00",
    )
    add_json(pause, "an object for each pause")


def add_resume(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    resume = add_parser(
        "resume", help="resume a task or a lane", description="Resume a paused task or lane."
    )
    add_target(resume)
    _add_subject(resume)
    add_json(resume, "an object with was_paused")


def pause(args: argparse.Namespace) -> int:
    """Run `aiostreamq pause` and return the exit code."""
    from aiostreamq.model.pauses import Pause

    async def pause_and_list(queue: "Queue") -> list[Pause]:
        if args.task or args.lane:
            await queue.pause(task=args.task, lane=args.lane, until=_moment(args.until))
        elif args.until:
            raise UsageError("--until needs --task or --lane")
        return await queue.paused()

    queue = queue_of(args)
    found = ask(queue, pause_and_list)
    for one in found:
        print_json(one) if args.json else say(pause_line(one))
    warn_of_unknown_task(queue, args)
    if not found:
        complain("nothing is paused")
    return 0


def resume(args: argparse.Namespace) -> int:
    """Run `aiostreamq resume` and return the exit code."""
    queue = queue_of(args)
    was_paused = ask(queue, lambda queue: queue.resume(task=args.task, lane=args.lane))
    if args.json:
        print_json({"was_paused": was_paused})
    elif not was_paused:
        complain("it was not paused")
    if not was_paused:
        warn_of_unknown_task(queue, args)
    return 0 if was_paused else 1


def _add_subject(parser: argparse.ArgumentParser) -> "Options":
    what = parser.add_argument_group("what")
    what.add_argument("--task", help="the task")
    what.add_argument("--lane", help="the lane")
    return what


def _moment(written: str | None) -> "Duration | datetime | None":
    from datetime import datetime

    if written is None:
        return None
    if "-" not in written:
        return duration("--until", written)
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return written  # queue.pause refuses it
