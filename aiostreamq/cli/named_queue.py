"""Queues that a command names by their names in Redis, without importing the application.

Such a queue has no tasks here: what only its code knows is not checked, and commands say so.
"""

import argparse
import re
from typing import TYPE_CHECKING

from aiostreamq.cli.option_sources import FromVariable
from aiostreamq.cli.output import complain
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from aiostreamq.queue import Queue
    from aiostreamq.store.connection.connector import Connector

DEFAULT = "default"

# A module and a name in it, or a file by mistake, which is refused with advice.
_IN_CODE = re.compile(r"([\w./\\-]*\.py|\.?[^\W\d][\w.]*):[^\W\d][\w.]*")


def settle_target(args: argparse.Namespace) -> None:
    """Decide whether the first argument names a queue in code, or belongs to the command.

    With --queue it belongs to the command. Otherwise one of the form `module:name` names a queue.

    Raises:
        UsageError: A queue is named twice, or an argument of the command is missing.
    """
    is_named = args.queue is not None and not isinstance(args.queue, FromVariable)
    if args.target is None:
        if args.first and not is_named and is_in_code(given := getattr(args, args.first)):
            raise UsageError(
                f"the {args.first} is missing after the queue {given!r}; if {given!r} is the "
                f"{args.first}, name the queue with --queue"
            )
        return
    if args.rest and (is_named or not is_in_code(args.target)):
        _move_to_rest(args)
    if is_named and args.target is not None:
        raise UsageError(
            f"a queue is named twice, by {args.target!r} and by --queue {args.queue}: give one"
        )
    if args.target is not None and args.lanes is not None:
        raise UsageError(f"--lanes is for --queue: {args.target} names its lanes itself")


def is_in_code(argument: str) -> bool:
    """Return whether *argument* has the form of a queue in code, as `package.module:name`."""
    return _IN_CODE.fullmatch(argument) is not None


def _move_to_rest(args: argparse.Namespace) -> None:
    """Give the first argument to the argument of the command that may be left out or repeated."""
    now: list[str] | str | None = getattr(args, args.rest)
    if isinstance(now, list):
        now.insert(0, args.target)
    elif now is None:
        setattr(args, args.rest, args.target)
    else:
        return
    args.target = None


def arguments_for(args: argparse.Namespace) -> str:
    """Return the arguments that name the same queue in another command."""
    if args.target is not None:
        return args.target
    lanes = f" --lanes {args.lanes}" if args.lanes else ""
    return f"--queue {args.queue or DEFAULT}{lanes}"


def find_queue(args: argparse.Namespace, url: str | None) -> "Queue":
    """Return the queue of the name in *args*, with --lanes or the lanes that Redis has.

    Raises:
        UsageError: The name is invalid, or nothing has opened such a queue in this Redis.
        QueueUnavailable: Redis cannot be reached.
    """
    from aiostreamq.queue import Queue

    name = DEFAULT if args.queue is None else str(args.queue)  # "" is refused: a slip of a shell
    if args.lanes is not None:
        return Queue(url, name=name, lanes=[lane.strip() for lane in args.lanes.split(",")])
    queue = Queue(url, name=name)  # checks the name

    import asyncio

    from aiostreamq.store.connection.connector import connector_for

    connector = connector_for(url)
    if connector.is_in_memory:
        return queue  # commands refuse it when they open it
    return Queue(url, name=name, lanes=asyncio.run(_lanes_of(name, connector)))


async def _lanes_of(name: str, connector: "Connector") -> list[str]:
    from aiostreamq.store.inspect.key_scan import find_lanes

    found = await find_lanes(connector, name)
    if not found.exists:
        raise UsageError(
            f"there is no queue {name!r} at {connector.address}: no program has opened it yet. "
            f"Check --queue and --url, or name its lanes with --lanes to make it"
        )
    if not (found.is_whole and found.lanes):
        raise UsageError(
            f"the lanes of queue {name!r} were not found among the first {found.looked_at} keys of "
            f"this Redis: name them with --lanes"
        )
    return found.lanes


def warn_of_unchecked(queue: "Queue", args: argparse.Namespace, what: str) -> None:
    """Say on stderr *what* was not checked, if the code of the queue is not loaded."""
    if args.target is None:
        complain(f"not checked, as the code of queue {queue.name!r} is not loaded: {what}")
