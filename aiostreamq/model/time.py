"""Moments as milliseconds since 1970, and as datetimes in UTC."""

from datetime import UTC, datetime

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def moment(ms: float) -> datetime:
    """Return the moment that is *ms* milliseconds after 1970.

    If datetime cannot represent it, this is the last moment that it can.
    """
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return _END_OF_TIME


def moment_or_none(ms: float | None) -> datetime | None:
    """Return the moment that is *ms* milliseconds after 1970; None stays None."""
    return None if ms is None else moment(ms)


def milliseconds_since_1970(at: datetime) -> int:
    """Return the milliseconds between 1970 and *at*, rounded.

    >>> milliseconds_since_1970(datetime(1970, 1, 1, 0, 0, 1, 500_400, UTC))
    1500
    """
    return round(at.timestamp() * 1000)
