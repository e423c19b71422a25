"""What the commands share that ask a queue something and print the answer.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
from typing import TYPE_CHECKING, TypeVar, cast, get_origin

from aiostreamq.cli.output import complain
from aiostreamq.client.core import core_of
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_target(parser: argparse.ArgumentParser, url: str | None, **more: str) -> None:
    """Let a command be args which queue it is about; *url* is the default of --url.

    *more* are arguments that follow the queue, by name, and what they are.
    """
    parser.add_argument("target", help="where the queue is: package.module:name")
    for name, meaning in more.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument("--url", default=url, help="the Redis to use, over the queue's own")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Let a command be args which modules register tasks, if the queue's own does not."""
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


def queue_of(args: argparse.Namespace) -> "Queue":
    """Return the queue that was *args* on the command line.

    Raises:
        UsageError: There is none.
    """
    from aiostreamq.cli.target import load_queue

    queue = load_queue(args.target, modules_of(args))
    if args.url:
        queue.use_url(args.url)
    return queue


def modules_of(args: argparse.Namespace) -> list[str]:
    """Return the modules that --import or its variable names."""
    import os

    named = getattr(args, "imports", None) or [os.environ.get("AIOSTREAMQ_IMPORT", "")]
    return [name.strip() for one in named for name in one.split(",") if name.strip()]


def hint_at_task(queue: "Queue", args: argparse.Namespace) -> None:
    """Say where the queue here has no task of the name that was *args*: it may be misspelt.

    Only a hint: workers of another release may know it.
    """
    if args.task and args.task not in queue.tasks:
        known = ", ".join(sorted(queue.tasks)) or "none"
        complain(f"there is no task {args.task!r} in {args.target}, which has: {known}")


def ask(queue: "Queue", question: "Callable[[Queue], Awaitable[T]]") -> T:
    """Open the queue, ask, and close it.

    Raises:
        UsageError: It is in memory, where the process that has it is the only one.
    """
    import asyncio

    from aiostreamq.store.connection.server import MEMORY

    async def opened() -> T:
        async with queue:
            if await core_of(queue).session().open() is MEMORY:
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
