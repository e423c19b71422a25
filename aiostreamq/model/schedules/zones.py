"""Time zones of schedules: their names, and how they are found again."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiostreamq.errors import UsageError

#: A time zone: its name, a ZoneInfo, or a fixed offset from UTC.
Zone = str | ZoneInfo | timezone

# A fixed offset as text: "+02:00", with seconds if it has some.
_OFFSET = re.compile(r"([+-])([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


def zone_name(tz: Zone | None) -> str:
    """Return a time zone as text, as a schedule stores it.

    >>> zone_name(timezone(timedelta(hours=-3, minutes=-30)))
    '-03:30'

    Raises:
        UsageError: The time zone cannot be written as text.
    """
    if isinstance(tz, timezone):
        return _offset_name(tz)
    if isinstance(tz, ZoneInfo) and tz.key:
        return tz.key
    if tz is None or isinstance(tz, str):
        return tz or "UTC"
    raise UsageError(
        f"tz={tz!r} has no name that a worker could look up: use a name such as 'Europe/Madrid', "
        f"a ZoneInfo('Europe/Madrid'), or a fixed offset such as '+02:00'"
    )


def _offset_name(tz: timezone) -> str:
    offset = tz.utcoffset(None)
    if not offset:
        return "UTC"
    if offset.microseconds:
        raise UsageError(f"tz={tz!r} has fractions of a second: use an offset in whole seconds")
    minutes, rest = divmod(int(abs(offset).total_seconds()), 60)
    sign = "-" if offset < timedelta(0) else "+"
    written = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{written}:{rest:02}" if rest else written


def zone_of(name: str) -> tzinfo:
    """Return the time zone that `zone_name` wrote.

    Raises:
        UsageError: No such time zone is known.
    """
    if name == "UTC":
        return UTC  # needs no file
    if (written := _OFFSET.fullmatch(name)) is not None:
        sign, hours, minutes, rest = written.groups(default="0")
        offset = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(rest))
        return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"unknown time zone tz={name!r}: use a name such as 'Europe/Madrid', or an offset "
            f"such as '+02:00'; if the system has no time zones, pip install tzdata"
        ) from None
