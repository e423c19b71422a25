"""Durations and due times in the forms that users write."""

import re
from datetime import datetime, timedelta
from math import isfinite

from aiostreamq.errors import UsageError
from aiostreamq.model.time import After, At, When, milliseconds_since_1970

#: Seconds, "250ms", "10s", "5m", "2h", "1d", or a timedelta.
Duration = float | int | str | timedelta

# Seconds, about three hundred years. Redis and the event loop mishandle longer times.
LONGEST = 10.0**10

# How many characters of a value an error shows.
_LONGEST_SHOWN = 60

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WRITTEN = r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*"


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
            # Very large ints cannot become floats.
            found = float(min(value, 2 * int(LONGEST)))
        case str():
            written = re.fullmatch(_WRITTEN, value)
            found = float(written[1]) * _SECONDS[written[2]] if written else -1.0
        case _:  # from callers without a type checker
            found = -1.0
    if isfinite(found) and found > LONGEST:
        raise UsageError(
            f"{option}={_shown(value)} is too long a duration: use less than three hundred years"
        )
    if not isfinite(found) or found < 0:
        raise UsageError(
            f"{option}={_shown(value)} is not a duration: give seconds, a timedelta, "
            f"or a string such as '10s', '5m', '2h'"
        )
    return found


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def due_of(delay: Duration | None, at: datetime | None) -> When | None:
    """Return when a job is due; None is now.

    >>> due_of("1.5s", None)
    After(ms=1500)
    """
    if delay is not None and at is not None:
        raise UsageError("delay= and at= exclude each other: give one of them")
    if isinstance(delay, datetime):
        raise UsageError(f"delay={delay!r} is a datetime, not a duration: use at= instead")
    if delay is not None:
        wait_ms = round(seconds("delay", delay) * 1000)
        return After(wait_ms) if wait_ms else None
    return None if at is None else At(moment_ms("at", at))


def expiry_of(expires: Duration | datetime | None, option: str = "expires") -> When | None:
    """Return when a job expires; None is never. *option* names the value in the error.

    >>> expiry_of("1.5s")
    After(ms=1500)
    """
    if expires is None:
        return None
    if isinstance(expires, datetime):
        return At(moment_ms(option, expires))
    wait_ms = round(seconds(option, expires) * 1000)
    if wait_ms == 0:
        raise UsageError(f"{option}=0 would never let the job run; leave it out for no limit")
    return After(wait_ms)


def moment_ms(option: str, at: datetime) -> int:
    """Return *at* in milliseconds since 1970; *option* names it in the error."""
    if not isinstance(at, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"{option}={_shown(at)} is not a datetime: give one with a time zone; "
            f"delay= takes a duration"
        )
    if at.tzinfo is None:
        raise UsageError(
            f"{option}={at!r} has no time zone: write datetime.now(UTC) or "
            f"datetime(..., tzinfo=ZoneInfo('Europe/Madrid'))"
        )
    return milliseconds_since_1970(at)
