"""The source of each setting of `aiostreamq run`: the command line, a variable, or the default.

An option wins over its variable, and the variable over the default. An empty variable counts as
not set, because container tools set variables without a value to an empty string.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiostreamq.cli.process.recycling import megabytes
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from aiostreamq.cli.parser import Options

# Always shown. The others are shown if they do not have their default.
_MAIN = ("lease", "shutdown_timeout")
_DURATIONS = {"lease", "shutdown_timeout", "loop_block_warning"}

_ON = {"1", "true", "yes", "on"}
_OFF = {"0", "false", "no", "off"}


class FromVariable(str):
    """The value of an option that comes from its environment variable."""

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
        """Take the value; a flag has none and becomes true."""
        del parser, option_string
        setattr(namespace, self.dest, values if self.nargs is None else True)
        namespace.sources[self.dest] = self.option_strings[0]


def add_sourced(
    parser: "Options",
    option: str,
    read: Callable[[str, str], object],
    default: str | None,
    meaning: str,
    *,
    metavar: str | None = None,
) -> None:
    """Add *option*, whose value may come from the environment too.

    `args.sources` has the source of each option that does not have its default.
    """
    found = _noted_variable(parser, option)
    parser.add_argument(
        option,
        type=_named(read, option),
        action=_Store,
        default=default if found is None else found,
        help=meaning,
        metavar=metavar,
    )


def add_flag(parser: "Options", option: str, meaning: str) -> None:
    """Add *option*, which has no value. Its variable is 1 or 0, true or false, yes or no."""
    found = _noted_variable(parser, option)
    default = False if found is None else found
    read = _named(_read_flag, option)
    parser.add_argument(option, type=read, action=_Store, nargs=0, default=default, help=meaning)


def _noted_variable(parser: "Options", option: str) -> FromVariable | None:
    sources: dict[str, str] | None = parser.get_default("sources")
    if sources is None:
        sources = {}
        parser.set_defaults(sources=sources)
    found = from_variable(option)
    if found is not None:
        sources[option.removeprefix("--").replace("-", "_")] = found.variable
    return found


def _named(read: Callable[[str, str], object], option: str) -> Callable[[str], object]:
    def read_named(written: str) -> object:
        try:
            return read(option, written)
        except UsageError as error:
            raise sourced(error, written) from None

    return read_named


def _read_flag(option: str, written: str) -> bool:
    if written.lower() not in _ON | _OFF:
        raise UsageError(f"{option} {written!r}: give 1 or 0")
    return written.lower() in _ON


def from_variable(option: str) -> FromVariable | None:
    """Return the value of the variable of *option*, or None if it is not set or empty."""
    variable = variable_of(option)
    if not os.environ.get(variable):
        return None
    found = FromVariable(os.environ[variable])
    found.variable = variable
    return found


def sourced(error: UsageError, written: object) -> UsageError:
    """Return *error* about the value *written* with the variable that it came from, if any."""
    if isinstance(written, FromVariable):
        return UsageError(f"{error} (from {written.variable})")
    return error


def variable_of(option: str) -> str:
    """Return the name of the environment variable of an option.

    >>> variable_of("--log-level")
    'AIOSTREAMQ_LOG_LEVEL'
    """
    return "AIOSTREAMQ_" + option.removeprefix("--").replace("-", "_").upper()


def settings_of(args: argparse.Namespace, computed: Mapping[str, object]) -> str:
    """Return the settings in force, each with its source.

    *computed* are settings that the worker has decided, such as the event loop; they come first.
    """
    sources: dict[str, str] = args.sources
    values = {**vars(args), **computed}
    names = [*computed, *_MAIN, *sorted(set(sources) - set(_MAIN) - set(computed))]
    return ", ".join(
        f"{name.replace('_', ' ')}{_value(name, values[name])} ({sources.get(name, 'default')})"
        for name in names
    )


def _value(name: str, value: object) -> str:
    if name == "url":
        return ""  # the banner shows the server, without its password
    if isinstance(value, bool):
        return "" if value else " off"
    if name in _DURATIONS:
        return f" {value:g} s"
    if name in {"max_rss", "max_held_bytes"} and isinstance(value, int):
        return f" {megabytes(value)}"
    return f" {value}"
