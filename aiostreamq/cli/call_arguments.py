"""The arguments of a job on the command line: --args and --kwargs, as JSON."""

import argparse
from typing import TYPE_CHECKING, TypeVar, cast, get_origin

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.cli.parser import Options
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_call_arguments(parser: "Options") -> None:
    """Add --args and --kwargs."""
    parser.add_argument(
        "--args", metavar="JSON", default="[]", help="positional arguments: '[1, \"two\"]'"
    )
    parser.add_argument(
        "--kwargs", metavar="JSON", default="{}", help="keyword arguments: '{\"tenant\": 7}'"
    )


def call_arguments(
    args: argparse.Namespace, queue: "Queue"
) -> "tuple[Sequence[object], Mapping[str, object]]":
    """Return the positional and the keyword arguments for the task in *args*.

    If *queue* has the task here, they are checked and converted by its annotations, so that a
    date can be given as a string. Otherwise they are the JSON.

    Raises:
        UsageError: --args is not an array, --kwargs is not an object, or they do not fit the task.
    """
    positional = _parsed("--args", args.args, list[object])
    keywords = _parsed("--kwargs", args.kwargs, dict[str, object])
    task = queue.tasks.get(args.task)
    if task is None or task.spec.signature is None:
        return positional, keywords
    return task.spec.signature.read_arguments(positional, keywords)


def _parsed(option: str, written: str, kind: type[T]) -> T:
    import json

    try:
        value = json.loads(written)
    except ValueError as error:
        raise UsageError(f"{option} {written!r} is not JSON: {error}") from error
    plain_kind = get_origin(kind) or kind
    if not isinstance(value, plain_kind):
        example = "an array, as in [1, 2]" if plain_kind is list else 'an object: {"tenant": 7}'
        raise UsageError(f"{option} {written!r} must be {example}")
    return cast("T", value)
