"""What the commands share that ask a queue something and print the answer.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar, cast, get_origin

from aiostreamq.cli.output import complain
from aiostreamq.errors import UsageError
from aiostreamq.model.terminal_text import ascii_json
from aiostreamq.model.terminal_text import visible as plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiostreamq.model.pauses import Pause
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_target(parser: argparse.ArgumentParser, url: str | None, **more: str) -> None:
    """Let a command be told which queue it is about; *url* is the default of --url.

    *more* are arguments that follow the queue, by name, and what they are.
    """
    parser.add_argument("target", help="where the queue is: package.module:name")
    for name, meaning in more.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument("--url", default=url, help="the Redis to use, over the queue's own")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Let a command be told which modules register tasks, if the queue's own does not."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="MODULE",
        help="a module that registers tasks, as in app.tasks; can be given again",
    )


def add_json(parser: argparse.ArgumentParser, form: str) -> None:
    """Let a command answer in JSON."""
    parser.add_argument("--json", action="store_true", help=f"as JSON, {form}")


def queue_of(told: argparse.Namespace) -> "Queue":
    """Return the queue that was *told* on the command line.

    Raises:
        UsageError: There is none.
    """
    from aiostreamq.cli.target import load_queue

    queue = load_queue(told.target, modules_of(told))
    if told.url:
        queue.use_url(told.url)
    return queue


def modules_of(told: argparse.Namespace) -> list[str]:
    """Return the modules that --import or its variable names."""
    import os

    named = getattr(told, "imports", None) or [os.environ.get("AIOSTREAMQ_IMPORT", "")]
    return [name.strip() for one in named for name in one.split(",") if name.strip()]


def hint_at_task(queue: "Queue", told: argparse.Namespace) -> None:
    """Say where the queue here has no task of the name that was *told*: it may be misspelt.

    Only a hint: workers of another release may know it.
    """
    if told.task and told.task not in queue.tasks:
        known = ", ".join(sorted(queue.tasks)) or "none"
        complain(f"there is no task {told.task!r} in {told.target}, which has: {known}")


def ask(queue: "Queue", question: "Callable[[Queue], Awaitable[T]]") -> T:
    """Open the queue, ask, and close it.

    Raises:
        UsageError: It is in memory, where the process that has it is the only one.
    """
    import asyncio

    from aiostreamq.store.connection.server import MEMORY

    async def opened() -> T:
        async with queue:
            if await queue.session().open() is MEMORY:
                raise UsageError(
                    f"queue {queue.name!r} is in the memory:// of each process that opens it, and "
                    f"empty here: say where Redis is, with --url or AIOSTREAMQ_URL"
                )
            return await question(queue)

    return asyncio.run(opened())


def parsed_json(option: str, written: str, kind: type[T]) -> T:
    """Read an argument that is JSON: an array or an object, as *kind* says.

    Raises:
        UsageError: It is something else.
    """
    import json

    plain_kind = get_origin(kind) or kind
    try:
        value = json.loads(written)
    except ValueError as error:
        raise UsageError(f"{option} {written!r} is no JSON: {error}") from error
    if not isinstance(value, plain_kind):
        which = "an array, as in [1, 2]" if plain_kind is list else 'an object, as in {"tenant": 7}'
        raise UsageError(f"{option} {written!r}: it must be {which}")
    return cast("T", value)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    import orjson

    print(ascii_json(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=repr).decode()))


def print_table(heads: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    """Print rows under heads: with rich on a terminal where it is installed, else plainly."""
    rows = [[plain(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and _print_with_rich(heads, rows):
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _print_with_rich(heads: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> bool:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(*heads, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True


def pause_line(pause: "Pause") -> str:
    """Say what is paused, and until when."""
    what = f"task {pause.task}" if pause.task else f"lane {pause.lane}"
    until = f"{pause.until:%Y-%m-%d %H:%M:%S} UTC" if pause.until else "it is resumed"
    return plain(f"{what} is paused until {until}")


def ago(seconds: float | None) -> str:
    """Return a length of time for people."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
