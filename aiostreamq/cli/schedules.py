"""`aiostreamq schedules`: look at schedules, make them, pause them, fire them by hand.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, TypeVar, cast, get_origin

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aiostreamq.client.schedules import Schedules
    from aiostreamq.model.duration import Duration
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
    _add_target(create, url, "name")
    create.add_argument("task", help="name of the task")
    _add_timing(create)
    _add_rules(create)
    create.add_argument("--replace", action="store_true", help="change the one that there is")
    _add_json(create)
    words = {
        "trigger": "enqueue one job of it now",
        "pause": "fire it no more",
        "resume": "fire it again",
        "rm": "forget it",
    }
    for action, does in words.items():
        _add_target(actions.add_parser(action, help=does, description=does), url, "name")


def _add_looking(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    ls = add_parser("ls", help="list all", description="List all schedules of a queue.")
    _add_target(ls, url)
    _add_json(ls)
    show = add_parser("show", help="show one in full", description="Show a schedule in full.")
    _add_target(show, url, "name")
    _add_json(show)
    explain = add_parser(
        "explain",
        help="say in words when one is due",
        description="Say in words when a schedule is due, when next, and what becomes of it when "
        "the clocks change. With --cron or --every, of one that is not made yet.",
    )
    _add_target(explain, url)
    explain.add_argument("name", nargs="?", help="of the schedule")
    _add_timing(explain)
    _add_json(explain)


def schedules(told: argparse.Namespace) -> int:
    """Do what was *told* on the command line; returns the exit code."""
    from aiostreamq.cli.target import load_queue

    queue = load_queue(told.target)
    if told.url:
        queue.use_url(told.url)
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
    return actions[told.action](queue, told)


def _add_target(parser: argparse.ArgumentParser, url: str | None, *more: str) -> None:
    parser.add_argument("target", help="where the queue is: package.module:name")
    for name in more:
        parser.add_argument(name, help="of the schedule")
    parser.add_argument("--url", default=url, help="the Redis to use, over the queue's own")


def _add_timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cron", help="when: an expression of 5 or 6 fields, or @daily and so on")
    parser.add_argument("--every", metavar="TIME", help="or an interval, as in 30s")
    parser.add_argument("--tz", metavar="ZONE", help="the time zone of --cron (default: UTC)")
    parser.add_argument("--start", metavar="WHEN", help="no tick before: ISO 8601, UTC by default")
    parser.add_argument("--end", metavar="WHEN", help="no tick after: ISO 8601, UTC by default")


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--args", metavar="JSON", help="positional arguments, as an array")
    parser.add_argument("--kwargs", metavar="JSON", help="keyword arguments, as an object")
    parser.add_argument("--overlap", help="allow, skip, buffer_one or cancel_old (default: allow)")
    parser.add_argument("--catch-up", help="none, latest or all (default: latest)")
    parser.add_argument("--window", metavar="TIME", help="how far back to catch up, as in 1h")
    parser.add_argument("--jitter", metavar="TIME", help="start each job later, by up to this")
    parser.add_argument("--max-runs", type=int, help="how many ticks at most")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, one object a schedule")


def _ls(queue: "Queue", told: argparse.Namespace) -> int:
    from aiostreamq.cli.timetable import as_json, as_table

    found = _ask(queue, lambda schedules: schedules.list())
    for line in map(as_json, found) if told.json else as_table(found):
        print(line)
    if not found:
        print("no schedules", file=sys.stderr)
    return 0


def _show(queue: "Queue", told: argparse.Namespace) -> int:
    from aiostreamq.cli.timetable import as_json, as_page

    found = _ask(queue, lambda schedules: schedules.get(told.name))
    print(as_json(found) if told.json else as_page(found))
    return 0


def _explain(queue: "Queue", told: argparse.Namespace) -> int:
    import time

    from aiostreamq.cli.timetable import Explanation
    from aiostreamq.model.schedule import Definition, Rules, timing_of

    if (told.name is None) == (told.cron is None and told.every is None):
        raise UsageError("explain what? give the name of a schedule, or --cron, or --every")
    now = round(time.time() * 1000)
    if told.name is None:
        rules = Rules.of({"start": _moment(told.start), "end": _moment(told.end)})
        timing = timing_of(told.cron, _duration(told.every), told.tz, rules.start)
        definition = Definition("", timing, rules, "{}", "", "0")
    else:
        definition = _ask(queue, lambda schedules: schedules.get(told.name)).definition
    explanation = Explanation(definition, now)
    print(explanation.as_json() if told.json else explanation.as_text())
    return 0


def _create(queue: "Queue", told: argparse.Namespace) -> int:
    from aiostreamq.cli.timetable import as_json, as_page

    rules = {
        "overlap": told.overlap,
        "catch_up": told.catch_up,
        "window": _duration(told.window),
        "jitter": _duration(told.jitter),
        "start": _moment(told.start),
        "end": _moment(told.end),
        "max_runs": told.max_runs,
    }
    words = cast("dict[str, str]", {name: word for name, word in rules.items() if word is not None})

    def make(schedules: "Schedules") -> "Awaitable[object]":
        put = schedules.replace if told.replace else schedules.create
        return put(
            told.name,
            told.task,
            args=_parsed("--args", told.args, list[object]),
            kwargs=_parsed("--kwargs", told.kwargs, dict[str, object]),
            cron=told.cron,
            every=_duration(told.every),
            tz=told.tz,
            **words,  # pyright: ignore[reportArgumentType]  # Rules.of says what is wrong with them
        )

    _ask(queue, make)
    made = _ask(queue, lambda schedules: schedules.get(told.name))
    print(as_json(made) if told.json else as_page(made))
    return 0


def _trigger(queue: "Queue", told: argparse.Namespace) -> int:
    job = _ask(queue, lambda schedules: schedules.trigger(told.name))
    print(f"enqueued {job.id}")
    return 0


def _pause(queue: "Queue", told: argparse.Namespace) -> int:
    was_on = _ask(queue, lambda schedules: schedules.pause(told.name))
    print(f"paused {told.name}" if was_on else f"{told.name} was paused already")
    return 0


def _resume(queue: "Queue", told: argparse.Namespace) -> int:
    was_paused = _ask(queue, lambda schedules: schedules.resume(told.name))
    print(f"resumed {told.name}" if was_paused else f"{told.name} was not paused")
    return 0


def _rm(queue: "Queue", told: argparse.Namespace) -> int:
    if not _ask(queue, lambda schedules: schedules.delete(told.name)):
        raise UsageError(f"queue {queue.name!r} has no schedule {told.name!r}")
    print(f"removed {told.name}")
    return 0


def _ask(queue: "Queue", question: "Callable[[Schedules], Awaitable[T]]") -> T:
    import asyncio

    async def ask() -> T:
        async with queue:
            return await question(queue.schedules)

    return asyncio.run(ask())


def _parsed(option: str, written: str | None, kind: type[T]) -> T:
    plain = get_origin(kind) or kind
    if written is None:
        return kind()
    try:
        found = json.loads(written)
    except json.JSONDecodeError as error:
        raise UsageError(f"{option} is no JSON: {error}") from None
    if not isinstance(found, plain):
        what = "an array" if plain is list else "an object"
        raise UsageError(f"{option} {written} is not {what}")
    return cast("T", found)


def _moment(written: str | None) -> "datetime | None":
    from datetime import datetime as parser  # the name is taken by what type checkers read

    if written is None:
        return None
    try:
        return parser.fromisoformat(written)
    except ValueError:
        raise UsageError(f"{written!r} is no time: write 2026-12-24T18:00+01:00") from None


def _duration(written: str | None) -> "Duration | None":
    # Bare numbers are seconds; the rest ("5m") is read where it is used.
    if written is None:
        return None
    try:
        return float(written)
    except ValueError:
        return written
