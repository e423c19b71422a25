"""`aiostreamq schedules`: list, explain, create, pause and trigger schedules."""

import argparse
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq import clock
from aiostreamq.cli.call_arguments import add_call_arguments, call_arguments
from aiostreamq.cli.connect import (
    add_json,
    add_target,
    ask,
    queue_of,
    warn_of_unknown_task,
)
from aiostreamq.cli.named_queue import warn_of_unchecked
from aiostreamq.cli.option_values import add_value, duration, whole
from aiostreamq.cli.output import print_json, print_listing, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aiostreamq.cli.format.schedules import Explanation
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.queue import Queue

T = TypeVar("T")

NOTHING_TO_EXPLAIN = "nothing to explain: give the name of a schedule, --cron or --every"


def add_schedules(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    schedules = add_parser(
        "schedules",
        help="list, explain, create, pause and trigger schedules",
        description="List, explain, create, pause and trigger the schedules of a queue.",
    )
    actions = schedules.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_queries(actions.add_parser)
    create = actions.add_parser(
        "create", help="create a schedule", description="Create a schedule, or replace one."
    )
    add_target(create, name="the name of the schedule", task="the name of the task")
    _add_timing(create)
    _add_rules(create)
    create.add_argument("--replace", action="store_true", help="replace the schedule of this name")
    add_json(create, "an object for each schedule")
    does = "enqueue a job of a schedule now"
    trigger = actions.add_parser("trigger", help=does, description=does)
    add_target(trigger, name="the name of the schedule")
    add_json(trigger, "an object with the id of the job")
    others = {
        "pause": "pause a schedule",
        "resume": "resume a schedule",
        "rm": "delete a schedule",
    }
    for action, does in others.items():
        add_target(
            actions.add_parser(action, help=does, description=does),
            name="the name of the schedule",
        )


def _add_queries(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    ls = add_parser("ls", help="list all schedules", description="List all schedules of a queue.")
    add_target(ls)
    add_json(ls, "an object for each schedule")
    show = add_parser(
        "show", help="show a schedule in full", description="Show a schedule in full."
    )
    add_target(show, name="the name of the schedule")
    add_json(show, "an object for each schedule")
    explain = add_parser(
        "explain",
        help="explain in English when a schedule is due",
        description="Explain in English when a schedule is due, when next, and what happens when "
        "the clocks change. With --cron or --every, explain a schedule before it is created.",
    )
    add_target(explain, rest="name")
    explain.add_argument("name", nargs="?", help="the name of the schedule")
    _add_timing(explain)
    add_json(explain, "an object for each schedule")


def schedules(args: argparse.Namespace) -> int:
    """Run an action of `aiostreamq schedules` and return the exit code."""
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
    if args.action == "explain" and args.name is None:
        return _explain_timing(args)
    return actions[args.action](queue_of(args), args)


def _add_timing(parser: argparse.ArgumentParser) -> None:
    when = parser.add_argument_group("when")
    when.add_argument("--cron", help="a cron expression of 5 or 6 fields, or @daily and the like")
    add_value(when, "--every", duration, "an interval instead, as in 30s", metavar="TIME")
    when.add_argument("--tz", metavar="ZONE", help="the time zone of --cron (default: UTC)")
    when.add_argument("--start", metavar="WHEN", help="the earliest tick: ISO 8601, UTC by default")
    when.add_argument("--end", metavar="WHEN", help="the latest tick: ISO 8601, UTC by default")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    add_call_arguments(parser.add_argument_group("the jobs"))
    rules = parser.add_argument_group("rules")
    rules.add_argument("--overlap", help="allow, skip, buffer_one or cancel_old (default: allow)")
    rules.add_argument("--catch-up", help="none, latest or all (default: latest)")
    add_value(rules, "--window", duration, "how far back to catch up, as in 1h", metavar="TIME")
    add_value(rules, "--jitter", duration, "delay each job at random, up to this", metavar="TIME")
    add_value(rules, "--max-runs", whole, "how many ticks at most")


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
    from aiostreamq.cli.format.schedules import Explanation

    if args.cron is not None or args.every is not None:
        raise UsageError(NOTHING_TO_EXPLAIN)
    if args.tz or args.start or args.end:
        raise UsageError(
            "--tz, --start and --end are for --cron or --every: a schedule has its own"
        )
    found = _ask(queue, lambda schedules: schedules.get(args.name))
    _say_explanation(Explanation(found.definition, _now_ms(), found), args)
    return 0


def _explain_timing(args: argparse.Namespace) -> int:
    """Explain --cron or --every, which no queue is needed for."""
    from aiostreamq.cli.format.schedules import Explanation
    from aiostreamq.model.schedules.definition import Definition, Rules, timing_of

    if args.cron is None and args.every is None:
        raise UsageError(NOTHING_TO_EXPLAIN)
    rules = Rules.of({"start": _moment(args.start), "end": _moment(args.end)})
    timing = timing_of(args.cron, args.every, args.tz, rules.start)
    _say_explanation(Explanation(Definition("", timing, rules, "{}", "", "0"), _now_ms()), args)
    return 0


def _say_explanation(explanation: "Explanation", args: argparse.Namespace) -> None:
    say(explanation.as_json() if args.json else explanation.as_text())


def _now_ms() -> int:
    return round(clock.wall() * 1000)


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
    given = cast("dict[str, str]", {k: rule for k, rule in rules.items() if rule is not None})

    positional, keywords = call_arguments(args, queue)

    def put(schedules: "Schedules") -> "Awaitable[object]":
        method = schedules.replace if args.replace else schedules.create
        return method(
            args.name,
            args.task,
            args=positional,
            kwargs=keywords,
            cron=args.cron,
            every=args.every,
            tz=args.tz,
            **given,  # pyright: ignore[reportArgumentType]  # Rules.of checks them
        )

    _ask(queue, put)
    stored = _ask(queue, lambda schedules: schedules.get(args.name))
    say(as_json(stored) if args.json else as_page(stored))
    warn_of_unchecked(queue, args, "the arguments of its jobs")
    warn_of_unknown_task(queue, args)
    return 0


def _trigger(queue: "Queue", args: argparse.Namespace) -> int:
    job = _ask(queue, lambda schedules: schedules.trigger(args.name))
    print_json({"id": job.id}) if args.json else say(f"enqueued {job.id}")
    return 0


def _pause(queue: "Queue", args: argparse.Namespace) -> int:
    was_on = _ask(queue, lambda schedules: schedules.pause(args.name))
    say(f"paused {args.name}" if was_on else f"{args.name} was already paused")
    return 0


def _resume(queue: "Queue", args: argparse.Namespace) -> int:
    was_paused = _ask(queue, lambda schedules: schedules.resume(args.name))
    say(f"resumed {args.name}" if was_paused else f"{args.name} was not paused")
    return 0


def _rm(queue: "Queue", args: argparse.Namespace) -> int:
    if not _ask(queue, lambda schedules: schedules.delete(args.name)):
        raise UsageError(f"queue {queue.name!r} has no schedule {args.name!r}")
    say(f"deleted {args.name}")
    return 0


def _ask(queue: "Queue", question: "Callable[[Schedules], Awaitable[T]]") -> T:
    return ask(queue, lambda queue: question(queue.schedules))


def _moment(written: str | None) -> "datetime | None":
    from datetime import datetime as parser  # type checkers import the name itself

    if written is None:
        return None
    try:
        return parser.fromisoformat(written)
    except ValueError:
        raise UsageError(f"{written!r}: invalid time; write 2026-12-24T18:00+01:00") from None
