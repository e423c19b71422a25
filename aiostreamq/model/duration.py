"""Lengths of time as people write them."""

import re
from datetime import timedelta
from math import isfinite

from aiostreamq.errors import UsageError

#: Seconds, "250ms", "10s", "5m", "2h", "1d", or a timedelta.
Duration = float | int | str | timedelta

# Larger ints are no floats any more.
LARGEST = 2**1000

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")


def seconds(option: str, value: Duration) -> float:
    """Return *value* in seconds; *option* names it in the error.

    >>> seconds("timeout", "5m")
    300.0
    """
    match value:
        case timedelta():
            found = value.total_seconds()
        case bool():
            found = -1.0
        case float():
            found = value
        case int():
            found = float(value) if value < LARGEST else -1.0
        case _:
            written = _WRITTEN.fullmatch(value)
            found = float(written[1]) * _SECONDS[written[2]] if written else -1.0
    if not isfinite(found) or found < 0:
        raise UsageError(
            f"{option}={value!r} is no length of time: give seconds, a timedelta, "
            f"or a string such as '10s', '5m', '2h'"
        )
    return found
