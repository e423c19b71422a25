"""Moments as milliseconds since 1970 and as datetimes in UTC, and times relative to now."""

from datetime import UTC, datetime

from aiostreamq.model.record import record

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


@record
class After:
    """A time relative to the moment at which a script or a producer resolves it."""

    ms: int

    def to_wire(self) -> str:
        """Return it as the scripts read it.

        >>> After(1500).to_wire()
        '+1500'
        """
        return f"+{self.ms}"


@record
class At:
    """A fixed moment."""

    ms: int  #: since 1970

    def to_wire(self) -> str:
        """Return it as the scripts read it.

        >>> At(1764000000000).to_wire()
        '1764000000000'
        """
        return str(self.ms)


#: When something is due or expires.
When = After | At
