"""When a schedule is due: cron expressions, intervals, and how clock changes affect them.

cronsim parses the expressions and finds their local times. This module converts local times to
moments, by the rule that calendars use (RFC 5545):

- A time that the clock skips is moved by the length of the skip: 02:30 becomes 03:30 on the day
  on which 02:00 is followed by 03:00.
- Of a time that occurs twice, the first counts.
- An expression with times in every hour follows real time, so that a clock change leaves neither
  a gap nor a double.

There is no clock in this module: `after` is an argument. Moments are whole milliseconds since
1970; cron expressions have a resolution of seconds.
"""

from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from cronsim import CronSim, CronSimError
from cronsim.explain import explain

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.record import record
from aiostreamq.model.schedules.zones import zone_of

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# Work that is due more often than this needs a long-running task rather than a schedule.
SHORTEST_MS = 100

# Times this far apart stay within the range of datetime.
LONGEST_DAYS = 36_525

DAY_MS = 86_400_000

# Later times count as never, because datetime ends at the year 9999.
LAST_YEAR = 9990

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # local times are naive here

_LAST_MS = round((datetime(LAST_YEAR + 1, 1, 1) - _EPOCH) / timedelta(milliseconds=1))  # noqa: DTZ001  # as above


class ClockChange(NamedTuple):
    """A moment at which the offset of a zone changes."""

    at: int  #: ms since 1970
    before: int  #: offset from UTC before it, in ms
    after: int  #: offset from UTC from then on, in ms

    @property
    def gain(self) -> int:
        """Milliseconds by which the clock is put forward; negative if it is put back."""
        return self.after - self.before


@record
class Every:
    """A fixed interval, counted from *anchor*.

    >>> Every(30_000).next_after(59_000)
    60000
    """

    interval: int  #: ms
    anchor: int = 0  #: ms since 1970 of one of the times

    def next_after(self, after: int) -> int | None:
        """Return the first time later than *after*, or None if it is after LAST_YEAR."""
        found = after + self.interval - (after - self.anchor) % self.interval
        return found if found < _LAST_MS else None

    @property
    def in_english(self) -> str:
        """The timing in English."""
        return f"Every {self.interval / 1000:g} s"


@record
class Cron:
    """A cron expression in a time zone.

    Raises:
        UsageError: The expression or the zone is invalid.

    >>> Cron("0 9 * * mon").next_after(0) == 4 * DAY_MS + 9 * 3600 * 1000
    True
    """

    expression: str
    zone: str = "UTC"  #: name in the IANA database, or a fixed offset such as "+02:00"
    _six: str = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)
    _is_hourly: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse the expression."""
        six = _six_fields(self.expression)
        object.__setattr__(self, "_six", six)
        object.__setattr__(self, "_zone", zone_of(self.zone))
        parsed = _parse(self.expression, six, _EPOCH)
        object.__setattr__(self, "_is_hourly", len(parsed.hours) == 24)

    @property
    def is_hourly(self) -> bool:
        """Whether it has times in every hour, and so follows real time."""
        return self._is_hourly

    @property
    def in_english(self) -> str:
        """The timing in English."""
        return explain(self._six)

    def next_after(self, after: int) -> int | None:
        """Return the first time later than *after*, or None if there is none."""
        change = self.change_between(after - DAY_MS, after)
        while True:
            found = self._next_in_segment(after, change)
            if found is None:
                return None
            since = after if change is None else max(after, change.at)
            upcoming = self.change_between(since, found)
            if upcoming is None:
                return found
            # The time found lies after a clock change: search again from the change on.
            change, after = upcoming, upcoming.at - 1

    def change_between(self, after: int, until: int) -> ClockChange | None:
        """Return the first clock change later than *after* and not later than *until*."""
        if isinstance(self._zone, timezone):
            return None
        low, offset = after, self._offset(after)
        while low < until:
            high = min(low + DAY_MS, until)
            if self._offset(high) != offset:
                return self._bisect(low, high, offset)
            low = high
        return None

    def moved_by(self, change: ClockChange) -> int | None:
        """Return when the first time is due that *change* skips or repeats, or None."""
        if self._is_hourly:
            return None
        since = min(change.at, change.at + change.gain)
        found = self._next_moment(since - 1, change.before)
        return found if found is not None and found < since + abs(change.gain) else None

    def local(self, moment: int) -> datetime:
        """Return *moment* in the schedule's zone."""
        return datetime.fromtimestamp(moment / 1000, self._zone)

    def _bisect(self, low: int, high: int, offset: int) -> ClockChange:
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return ClockChange(high, offset, self._offset(high))

    def _next_in_segment(self, after: int, change: ClockChange | None) -> int | None:
        """Return the next time if the clock never changed again after *change*."""
        start = after if change is None else max(after, change.at - 1)
        offset = self._offset(start + 1)
        if change is None or self._is_hourly:
            return self._next_moment(start, offset)
        if change.gain < 0:
            # Repeated times were already due before the change.
            return self._next_moment(max(start, change.at - change.gain - 1), offset)
        found = self._next_moment(start, offset)
        skipped = self._next_moment(start, change.before)
        if skipped is not None and skipped < change.at + change.gain:
            return skipped if found is None else min(found, skipped)
        return found

    def _next_moment(self, after: int, offset: int) -> int | None:
        """Return the next time by a clock that is always *offset* ms ahead of UTC."""
        local = self._next_local(after + offset)
        return None if local is None else local - offset

    def _next_local(self, after: int) -> int | None:
        start = _EPOCH + timedelta(milliseconds=after)
        try:
            found = next(_parse(self.expression, self._six, start), None)
        except OverflowError:
            return None  # beyond the range of datetime
        if found is None or found.year > LAST_YEAR:
            return None
        return round((found - _EPOCH) / timedelta(milliseconds=1))

    def _offset(self, moment: int) -> int:
        offset = datetime.fromtimestamp(moment // 1000, self._zone).utcoffset()
        assert offset is not None, "every zone of the database has an offset"
        return round(offset.total_seconds() * 1000)


#: The times at which a schedule is due.
Timing = Cron | Every


def interval_of(every: Duration) -> int:
    """Return *every* in milliseconds.

    Raises:
        UsageError: It is not a duration, or too short for a schedule.
    """
    interval = length_ms("every", every)
    if interval < SHORTEST_MS:
        raise UsageError(
            f"every={every!r} is too short for a schedule: use {SHORTEST_MS} ms or more"
        )
    return interval


def length_ms(option: str, value: Duration) -> int:
    """Return a duration of a schedule in milliseconds; *option* names it in the error.

    Raises:
        UsageError: It is not a duration, or too long for a schedule.
    """
    found = seconds(option, value)
    if found > LONGEST_DAYS * 86_400:
        raise UsageError(
            f"{option}={value!r} is too long for a schedule: use {LONGEST_DAYS} days or less"
        )
    return round(found * 1000)


def upcoming(timing: Timing, after: int, count: int) -> Iterator[int]:
    """Yield the next *count* times later than *after*, or fewer if there are no more."""
    for _ in range(count):
        found = timing.next_after(after)
        if found is None:
            return
        yield found
        after = found


def last_until(timing: Timing, since: int, until: int) -> int:
    """Return the last time not later than *until*; *since* must be such a time."""
    # Search from further and further back until a time is found.
    back, low = 60_000, since
    while until - back > since:
        found = timing.next_after(until - back)
        if found is not None and found <= until:
            low = found
            break
        back *= 2
    while (following := timing.next_after(low)) is not None and following <= until:
        low = following
    return low


def changes(timing: Timing, after: int, until: int) -> Iterator[ClockChange]:
    """Yield the clock changes in a schedule's zone later than *after*, up to *until*."""
    if isinstance(timing, Every):
        return
    while (change := timing.change_between(after, until)) is not None:
        yield change
        after = change.at


def iso(moment: int) -> str:
    """Return *moment* as text in UTC, with milliseconds only if they are not 0.

    >>> iso(1_500)
    '1970-01-01T00:00:01.500Z'
    """
    at = datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{at}.{moment % 1000:03}Z" if moment % 1000 else f"{at}Z"


def _six_fields(expression: str) -> str:
    fields = ALIASES.get(expression.strip().lower(), expression).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise UsageError(
            f"cron {expression!r} has {len(fields)} fields: write minute, hour, day, month and day "
            f"of the week, or seconds before them, or one of {', '.join(sorted(ALIASES))}"
        )
    return " ".join(fields).upper()


def _parse(expression: str, six: str, start: datetime) -> CronSim:
    try:
        return CronSim(six, start)
    except (CronSimError, ValueError) as error:
        raise UsageError(f"invalid cron expression {expression!r}: {error}") from None
