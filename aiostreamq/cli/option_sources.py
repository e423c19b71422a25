"""Where each setting of `aiostreamq run` comes from: the command line, a variable, or neither.

An option wins over its variable, and the variable over the default. An empty variable counts
as not set: what starts containers gives variables without a value an empty one.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiostreamq.cli.process.recycling import megabytes
from aiostreamq.errors import UsageError

# Told in any case, the others if they are not as by default.
_MAIN = ("lease", "shutdown_timeout")
_DURATIONS = {"lease", "shutdown_timeout", "loop_block_warning"}


class _FromVariable(str):
    """The value of an option, out of its variable."""

    __slots__ = ("variable",)

    variable: str


class _Store(argparse.Action):
    """Stores a value, and that it was on the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Take the value."""
        del parser, option_string
        setattr(namespace, self.dest, values)
        namespace.sources[self.dest] = self.option_strings[0]


def add_sourced(
    parser: argparse.ArgumentParser,
    option: str,
    read: Callable[[str, str], object],
    default: str | None,
    meaning: str,
    *,
    metavar: str | None = None,
) -> None:
    """Let a command take *option*, whose value can come from the environment too.

    `args.sources` names for each that does not have its default where its value comes from.
    """
    sources: dict[str, str] | None = parser.get_default("sources")
    if sources is None:
        sources = {}
        parser.set_defaults(sources=sources)
    found: str | None = default
    variable = variable_of(option)
    if os.environ.get(variable):
        found = _FromVariable(os.environ[variable])
        found.variable = variable
        sources[option.removeprefix("--").replace("-", "_")] = variable

    def read_named(written: str) -> object:
        try:
            return read(option, written)
        except UsageError as error:
            if isinstance(written, _FromVariable):
                raise UsageError(f"{error} (from {written.variable})") from None
            raise

    parser.add_argument(
        option, type=read_named, action=_Store, default=found, help=meaning, metavar=metavar
    )


def variable_of(option: str) -> str:
    """Return the name of the environment variable of an option.

    >>> variable_of("--log-level")
    'AIOSTREAMQ_LOG_LEVEL'
    """
    return "AIOSTREAMQ_" + option.removeprefix("--").replace("-", "_").upper()


def settings_of(args: argparse.Namespace, others: Mapping[str, object]) -> str:
    """Say which settings are in force, and where those come from that are no defaults.

    *others* are what the command line has become, over what was *args*.
    """
    sources: dict[str, str] = args.sources
    values = {**vars(args), **others}
    names = [*others, *_MAIN, *sorted(set(sources) - set(_MAIN) - set(others))]
    return ", ".join(
        f"{name.replace('_', ' ')}{_value(name, values[name])} ({sources.get(name, 'default')})"
        for name in names
    )


def _value(name: str, value: object) -> str:
    if name == "url":
        return ""  # the server is args without its password
    if name in _DURATIONS:
        return f" {value:g} s"
    if name == "max_rss" and isinstance(value, int):
        return f" {megabytes(value)}"
    return f" {value}"
