"""The queue that a command is about: its options, and the connection to it.

Only argparse is imported at the top, because the parsers of all commands are built before it is
known which command runs.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.cli.option_sources import sourced
from aiostreamq.cli.output import complain
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_target(parser: argparse.ArgumentParser, url: str | None, **more: str) -> None:
    """Add the arguments that name a queue.

    Args:
        parser: The parser of the command.
        url: The default of --url.
        **more: Arguments after the queue, by name, with their help.
    """
    parser.add_argument("target", help="the queue, as package.module:name")
    for name, meaning in more.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument("--url", default=url, help="the Redis to use instead of the queue's own")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add --import, for tasks that are not registered in the module of the queue."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="MODULE",
        help="a module that registers tasks, such as app.tasks; may be repeated",
    )


def add_json(parser: argparse.ArgumentParser, form: str) -> None:
    """Add --json; *form* says what is printed then."""
    parser.add_argument("--json", action="store_true", help=f"print JSON: {form}")


def queue_of(args: argparse.Namespace) -> "Queue":
    """Return the queue that the command line names.

    Raises:
        UsageError: There is no such queue, or the URL is invalid.
    """
    from aiostreamq.cli.target import load_queue

    queue = load_queue(args.target, modules_of(args))
    if args.url:
        _use_url(queue, args.url)
    return queue


def _use_url(queue: "Queue", url: str) -> None:
    from aiostreamq.store.connection.address import checked_source

    try:
        checked_source(str(url))  # not only when the queue opens, to name the variable
    except UsageError as error:
        raise sourced(error, url) from None
    queue.use_url(str(url))


def modules_of(args: argparse.Namespace) -> list[str]:
    """Return the modules in --import or its variable."""
    import os

    values = getattr(args, "imports", None) or [os.environ.get("AIOSTREAMQ_IMPORT", "")]
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def warn_of_unknown_task(queue: "Queue", args: argparse.Namespace) -> None:
    """Warn if the task name given on the command line is unknown here: it may be misspelt.

    This is only a warning, because workers of another release may know the task.
    """
    if args.task and args.task not in queue.tasks:
        known = ", ".join(sorted(queue.tasks)) or "none"
        complain(f"there is no task {args.task!r} in {args.target}, which has: {known}")


def ask(queue: "Queue", question: "Callable[[Queue], Awaitable[T]]") -> T:
    """Open the queue, await the answer to *question*, and close the queue.

    Raises:
        UsageError: The queue is on memory://, which other processes cannot reach.
    """
    import asyncio

    from aiostreamq.client.core import core_of
    from aiostreamq.store.connection.server import MEMORY

    async def opened() -> T:
        async with queue:
            if await core_of(queue).session().open() is MEMORY:
                raise UsageError(
                    f"queue {queue.name!r} is on memory://, which each process has for itself, and "
                    f"is empty here: give the URL of a Redis with --url or AIOSTREAMQ_URL"
                )
            return await question(queue)

    return asyncio.run(opened())
