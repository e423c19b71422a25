"""`aiostreamq schedules`: look at schedules, make them, pause them, fire them by hand.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.cli.arguments import add_value, duration, whole
from aiostreamq.cli.connect import (
    add_json,
    add_target,
    ask,
    hint_at_task,
    parsed_json,
    queue_of,
)
from aiostreamq.cli.output import print_json, print_listing, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_schedules(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`; *url* is the default of --url."""
    schedules = add_parser(
        "schedules",
        help="look at schedules, make them, pause them",
        description="Look at the schedules of a queue, make them, pause them, fire them by hand.",
    )
    actions = schedules.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_looking(actions.add_parser, url)
    create = actions.add_parser(
        "create", help="make or change one", description="Make a schedule, or change one."
    )
    add_target(create, url, name="of the schedule")
    create.add_argument("task", help="name of the task")
    _add_timing(create)
    _add_rules(create)
    create.add_argument("--replace", action="store_true", help="change the one that there is")
    add_json(create, "one object a schedule")
    does = "enqueue one job of it now"
    trigger = actions.add_parser("trigger", help=does, description=does)
    add_target(trigger, url, name="of the schedule")
    add_json(trigger, "one object with the id of the job")
    words = {
        "pause": "fire it no more",
        "resume": "fire it again",
        "rm": "forget it",
    }
    for action, does in words.items():
        add_target(
            actions.add_parser(action, help=does, description=does), url, name="of the schedule"
        )


def _add_looking(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    ls = add_parser("ls", help="list all", description="List all schedules of a queue.")
    add_target(ls, url)
    add_json(ls, "one object a schedule")
    show = add_parser("show", help="show one in full", description="Show a schedule in full.")
    add_target(show, url, name="of the schedule")
    add_json(show, "one object a schedule")
    explain = add_parser(
        "explain",
        help="say in words when one is due",
        description="Say in words when a schedule is due, when next, and what becomes of it when "
        "the clocks change. With --cron or --every, of one that is not made yet.",
    )
    add_target(explain, url)
    explain.add_argument("name", nargs="?", help="of the schedule")
    _add_timing(explain)
    add_json(explain, "one object a schedule")


def schedules(args: argparse.Namespace) -> int:
    """Do what was *args* on the command line; returns the exit code."""
    actions = {
        "ls": _ls,
        "show": _show,
        "explain": _explain,
        "create": _create,
        "trigger": _trigger,
        "pause": _pause,
        "resume": _resume,
        "rm": _rm,
    }
    return actions[args.action](queue_of(args), args)


def _add_timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cron", help="when: an expression of 5 or 6 fields, or @daily and so on")
    add_value(parser, "--every", duration, "or an interval, as in 30s", metavar="TIME")
    parser.add_argument("--tz", metavar="ZONE", help="the time zone of --cron (default: UTC)")
    parser.add_argument("--start", metavar="WHEN", help="no tick before: ISO 8601, UTC by default")
    parser.add_argument("--end", metavar="WHEN", help="no tick after: ISO 8601, UTC by default")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--args", metavar="JSON", help="positional arguments, as an array")
    parser.add_argument("--kwargs", metavar="JSON", help="keyword arguments, as an object")
    parser.add_argument("--overlap", help="allow, skip, buffer_one or cancel_old (default: allow)")
    parser.add_argument("--catch-up", help="none, latest or all (default: latest)")
    add_value(parser, "--window", duration, "how far back to catch up, as in 1h", metavar="TIME")
    add_value(parser, "--jitter", duration, "start each job later, by up to this", metavar="TIME")
    add_value(parser, "--max-runs", whole, "how many ticks at most")


def _ls(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.schedules import COLUMNS, as_json, as_row

    found = _ask(queue, lambda schedules: schedules.list())
    print_listing(
        found,
        heads=COLUMNS,
        as_row=as_row,
        as_json=as_json,
        is_json=args.json,
        none="no schedules",
    )
    return 0


def _show(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.schedules import as_json, as_page

    found = _ask(queue, lambda schedules: schedules.get(args.name))
    say(as_json(found) if args.json else as_page(found))
    return 0


def _explain(queue: "Queue", args: argparse.Namespace) -> int:
    import time

    from aiostreamq.cli.format.schedules import Explanation
    from aiostreamq.model.schedules.definition import Definition, Rules, timing_of

    if (args.name is None) == (args.cron is None and args.every is None):
        raise UsageError("explain what? give the name of a schedule, or --cron, or --every")
    if args.name is not None and (args.tz or args.start or args.end):
        raise UsageError(
            "--tz, --start and --end are for --cron or --every: a schedule has its own"
        )
    now = round(time.time() * 1000)
    if args.name is None:
        rules = Rules.of({"start": _moment(args.start), "end": _moment(args.end)})
        timing = timing_of(args.cron, args.every, args.tz, rules.start)
        explanation = Explanation(Definition("", timing, rules, "{}", "", "0"), now)
    else:
        found = _ask(queue, lambda schedules: schedules.get(args.name))
        explanation = Explanation(found.definition, now, found)
    say(explanation.as_json() if args.json else explanation.as_text())
    return 0


def _create(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.schedules import as_json, as_page

    rules = {
        "overlap": args.overlap,
        "catch_up": args.catch_up,
        "window": args.window,
        "jitter": args.jitter,
        "start": _moment(args.start),
        "end": _moment(args.end),
        "max_runs": args.max_runs,
    }
    words = cast("dict[str, str]", {name: word for name, word in rules.items() if word is not None})

    def make(schedules: "Schedules") -> "Awaitable[object]":
        put = schedules.replace if args.replace else schedules.create
        return put(
            args.name,
            args.task,
            args=parsed_json("--args", args.args or "[]", list[object]),
            kwargs=parsed_json("--kwargs", args.kwargs or "{}", dict[str, object]),
            cron=args.cron,
            every=args.every,
            tz=args.tz,
            **words,  # pyright: ignore[reportArgumentType]  # Rules.of says what is wrong with them
        )

    _ask(queue, make)
    made = _ask(queue, lambda schedules: schedules.get(args.name))
    say(as_json(made) if args.json else as_page(made))
    hint_at_task(queue, args)
    return 0


def _trigger(queue: "Queue", args: argparse.Namespace) -> int:
    job = _ask(queue, lambda schedules: schedules.trigger(args.name))
    print_json({"id": job.id}) if args.json else say(f"enqueued {job.id}")
    return 0


def _pause(queue: "Queue", args: argparse.Namespace) -> int:
    was_on = _ask(queue, lambda schedules: schedules.pause(args.name))
    say(f"paused {args.name}" if was_on else f"{args.name} was paused already")
    return 0


def _resume(queue: "Queue", args: argparse.Namespace) -> int:
    was_paused = _ask(queue, lambda schedules: schedules.resume(args.name))
    say(f"resumed {args.name}" if was_paused else f"{args.name} was not paused")
    return 0


def _rm(queue: "Queue", args: argparse.Namespace) -> int:
    if not _ask(queue, lambda schedules: schedules.delete(args.name)):
        raise UsageError(f"queue {queue.name!r} has no schedule {args.name!r}")
    say(f"removed {args.name}")
    return 0


def _ask(queue: "Queue", question: "Callable[[Schedules], Awaitable[T]]") -> T:
    return ask(queue, lambda queue: question(queue.schedules))


def _moment(written: str | None) -> "datetime | None":
    from datetime import datetime as parser  # the name is taken by what type checkers read

    if written is None:
        return None
    try:
        return parser.fromisoformat(written)
    except ValueError:
        raise UsageError(f"{written!r} is no time: write 2026-12-24T18:00+01:00") from None
