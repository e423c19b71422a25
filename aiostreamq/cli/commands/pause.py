"""`aiostreamq pause` and `aiostreamq resume`.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.arguments import duration
from aiostreamq.cli.connect import add_json, add_target, ask, hint_at_task, queue_of
from aiostreamq.cli.output import complain, pause_line, print_json, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiostreamq.model.duration import Duration
    from aiostreamq.queue import Queue


def add_pause(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`."""
    pause = add_parser(
        "pause",
        help="have a task or a lane wait",
        description="Have a task or a lane wait; without either, list what is paused.",
    )
    add_target(pause, url)
    _add_what(pause)
    pause.add_argument(
        "--until",
        metavar="WHEN",
        help="go on by itself after this time, as in 30m, or at a moment with its offset, "
        "as in 2030-01-31T09:00:00+01:00",
    )
    add_json(pause, "one object for each that is paused")


def add_resume(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`."""
    resume = add_parser(
        "resume", help="let it go on", description="Let a paused task or lane go on."
    )
    add_target(resume, url)
    _add_what(resume)
    add_json(resume, "one object")


def pause(args: argparse.Namespace) -> int:
    """Pause what was *args* on the command line; returns the exit code."""
    from aiostreamq.model.pauses import Pause

    async def go(queue: "Queue") -> list[Pause]:
        if args.task or args.lane:
            await queue.pause(task=args.task, lane=args.lane, until=_moment(args.until))
        elif args.until:
            raise UsageError("--until says when, but not what: give --task or --lane")
        return await queue.paused()

    queue = queue_of(args)
    found = ask(queue, go)
    for one in found:
        print_json(one) if args.json else say(pause_line(one))
    hint_at_task(queue, args)
    if not found:
        complain("nothing is paused")
    return 0


def resume(args: argparse.Namespace) -> int:
    """Resume what was *args* on the command line; returns the exit code."""
    queue = queue_of(args)
    was_paused = ask(queue, lambda queue: queue.resume(task=args.task, lane=args.lane))
    if args.json:
        print_json({"was_paused": was_paused})
    elif not was_paused:
        complain("it was not paused")
    if not was_paused:
        hint_at_task(queue, args)
    return 0 if was_paused else 1


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", help="this task")
    parser.add_argument("--lane", help="this lane")


def _moment(args: str | None) -> "Duration | datetime | None":
    from datetime import datetime

    if args is None:
        return None
    if "-" not in args:
        return duration("--until", args)
    try:
        return datetime.fromisoformat(args)
    except ValueError:
        return args  # it is refused with the others
