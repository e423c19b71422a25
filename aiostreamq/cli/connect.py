"""The queue that a command is about: its options, and the connection to it.

Only argparse is imported at the top, because the parsers of all commands are built before it is
known which command runs.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.cli.option_sources import from_variable, sourced
from aiostreamq.cli.output import complain
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.cli.parser import Options
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_target(parser: argparse.ArgumentParser, rest: str | None = None, **more: str) -> None:
    """Add the arguments and options that name a queue.

    Args:
        parser: The parser of the command.
        rest: The name of an argument that may be left out or repeated, which the command adds
            itself: an argument that does not name a queue in code belongs to it.
        **more: Arguments after the queue, by name, with their help.
    """
    parser.add_argument(
        "target",
        nargs="?",
        metavar="module:queue",
        help="the queue in your code; without it, the queue in Redis that --queue names",
    )
    parser.set_defaults(rest=rest, first=next(iter(more), None))
    for name, meaning in more.items():
        parser.add_argument(name, help=meaning)
    group = parser.add_argument_group("which queue")
    group.add_argument(
        "--queue",
        metavar="NAME",
        default=from_variable("--queue"),
        help="the name of the queue in Redis; your code is not imported (default: default)",
    )
    group.add_argument(
        "--lanes",
        metavar="A,B",
        help="with --queue: the lanes of the queue (default: all that are found in Redis)",
    )
    group.add_argument(
        "--url",
        default=from_variable("--url"),
        help="the Redis to use instead of the queue's own",
    )


def add_import(parser: "Options") -> None:
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
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=f"print JSON: {form}")


def queue_of(args: argparse.Namespace) -> "Queue":
    """Return the queue that the command line names, in code or in Redis.

    Raises:
        UsageError: There is no such queue, or the URL is invalid.
        QueueUnavailable: Redis cannot be reached to find the lanes of a queue.
    """
    url = checked_url(args.url)
    if args.target is None:
        from aiostreamq.cli.named_queue import find_queue

        return find_queue(args, url)
    from aiostreamq.cli.target import load_queue

    queue = load_queue(args.target, modules_of(args))
    if url:
        queue.use_url(url)
    return queue


def queues_of(args: argparse.Namespace) -> "list[Queue]":
    """Return the queues in code whose jobs `aiostreamq run` runs.

    Raises:
        UsageError: One of them does not exist or has no tasks, or the URL is invalid.
    """
    from aiostreamq.cli.target import load_queue

    url = checked_url(args.url)
    queues = [load_queue(target, modules_of(args)) for target in args.targets]
    for queue, target in zip(queues, args.targets, strict=True):
        if url:
            queue.use_url(url)
        if not queue.tasks:
            raise UsageError(
                f"queue {queue.name!r} in {target} has no tasks: they are registered when their "
                f"modules are imported. Name those modules, as in --import app.tasks, or import "
                f"them in {target.partition(':')[0]}"
            )
    return queues


def checked_url(url: str | None) -> str | None:
    """Return the URL in --url or its variable, or None.

    Raises:
        UsageError: It is invalid; the error names the variable.
    """
    if not url:
        return None
    from aiostreamq.store.connection.address import checked_source

    try:
        checked_source(str(url))  # not only when the queue opens, to name the variable
    except UsageError as error:
        raise sourced(error, url) from None
    return str(url)


def modules_of(args: argparse.Namespace) -> list[str]:
    """Return the modules in --import or its variable."""
    import os

    values = getattr(args, "imports", None) or [os.environ.get("AIOSTREAMQ_IMPORT", "")]
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def warn_of_unknown_task(queue: "Queue", args: argparse.Namespace) -> None:
    """Warn if the task name given on the command line is unknown here: it may be misspelt.

    This is only a warning, because workers of another release may know the task.
    """
    if not args.task:
        return
    if args.target is None:
        known = {t for w in ask(queue, lambda queue: queue.workers()) for t in w.tasks}
        place = f"the workers of queue {queue.name!r} that run now; they know"
    else:
        known, place = set(queue.tasks), f"{args.target}, which has"
    if args.task not in known:
        complain(f"there is no task {args.task!r} in {place}: {', '.join(sorted(known)) or 'none'}")


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
