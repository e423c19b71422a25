"""Readers of option values. Each refuses an invalid value and names the option.

A reader takes the option, for its errors, and the text that was written.
"""

from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds

if TYPE_CHECKING:
    from aiostreamq.cli.parser import Options

HIGHEST_PORT = 65535


def add_value(
    parser: "Options",
    option: str,
    read: Callable[[str, str], object],
    meaning: str,
    **more: str | int | None,
) -> None:
    """Add *option*, whose value *read* reads.

    A default that is a string is read too, so that a default from the environment is checked as
    if it had been typed.
    """
    parser.add_argument(option, type=partial(read, option), help=meaning, **more)  # pyright: ignore[reportArgumentType]  # default or metavar


def text(_option: str, written: str) -> str:
    """Return the text unchanged."""
    return written


def whole(option: str, written: str, least: int = 1, most: int | None = None) -> int:
    """Return an integer from *least* to *most*.

    >>> whole("--workers", "4")
    4
    """
    try:
        number = int(written)
    except ValueError:
        number = least - 1
    if number < least or (most is not None and number > most):
        wanted = f"{least} or more" if most is None else f"{least} to {most}"
        raise UsageError(f"{option} {written!r}: give a whole number, {wanted}")
    return number


def port(option: str, written: str) -> int:
    """Return a TCP port, or 0 for any free one.

    >>> port("--health-port", "8080")
    8080
    """
    return whole(option, written, 0, HIGHEST_PORT)


def duration(option: str, written: str, least: float = 0.0) -> float:
    """Return a duration in seconds, *least* or more.

    >>> duration("--lease", "5m")
    300.0
    """
    try:
        found = seconds(option, _number(written))
    except UsageError:
        raise UsageError(
            f"{option} {written!r}: invalid duration; give seconds, or a number with a unit as "
            f"in 10s, 5m or 2h"
        ) from None
    if found < least:
        raise UsageError(f"{option} {written!r} is too short: give {least:g} s or more")
    return found


def rate(option: str, written: str) -> float:
    """Return a number per second.

    >>> rate("--rate", "0.5")
    0.5
    """
    found = _number(written)
    if isinstance(found, str) or not isfinite(found) or found <= 0:
        raise UsageError(f"{option} {written!r}: give a number per second, more than 0")
    return found


def choice(option: str, written: str, choices: tuple[str, ...]) -> str:
    """Return the text if it is one of *choices*.

    >>> choice("--loop", "uvloop", ("asyncio", "uvloop"))
    'uvloop'
    """
    if written not in choices:
        raise UsageError(f"{option} {written!r}: give one of {', '.join(choices)}")
    return written


def _number(written: str) -> float | str:
    try:
        return float(written)
    except ValueError:
        return written
