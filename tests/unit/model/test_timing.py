"""When a schedule is due, and what the clock changes of its zone do to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.errors import UsageError
from aiostreamq.model.schedules.timing import (
    ALIASES,
    Cron,
    Every,
    changes,
    interval_of,
    iso,
    last_until,
    upcoming,
)
from aiostreamq.model.schedules.zones import zone_name

MINUTE = 60_000

#: Zones that change by an hour in the north, at another time of day, and by half an hour in the
#: south; each with its two changes in 2026.
CHANGES = [
    ("Europe/Madrid", "2026-03-29T01:00"),
    ("Europe/Madrid", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
]


def ms(moment: str) -> int:
    """Return a time in UTC as milliseconds."""
    return round(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)


def ticks(cron: Cron, after: int, until: int) -> list[int]:
    """Return all ticks later than *after* and not later than *until*."""
    found: list[int] = []
    at = cron.next_after(after)
    while at is not None and at <= until:
        found.append(at)
        at = cron.next_after(at)
    return found


@dataclass(frozen=True)
class Pattern:
    """An expression of which it is easy to say whether a local time matches."""

    minutes: frozenset[int]
    hours: frozenset[int] | None  #: None is each
    days: frozenset[int] | None  #: of the week, Monday is 0; None is each

    @property
    def expression(self) -> str:
        """It as cron writes it."""
        minutes = ",".join(map(str, sorted(self.minutes)))
        hours = "*" if self.hours is None else ",".join(map(str, sorted(self.hours)))
        days = "*" if self.days is None else ",".join(str(day + 1) for day in sorted(self.days))
        return f"{minutes} {hours} * * {days}"

    def matches(self, local: datetime) -> bool:
        """Say whether it names a local time."""
        return (
            local.minute in self.minutes
            and (self.hours is None or local.hour in self.hours)
            and (self.days is None or local.weekday() in self.days)
        )


def reference(pattern: Pattern, zone: ZoneInfo, after: int, until: int) -> list[int]:
    """Walk minute by minute in UTC, and write down where the pattern matches.

    Slow and plain: it knows nothing of what is to come, only what the clock has just done.
    """
    found: list[int] = []
    offset = offset_at(after, zone)
    before, skipped_until, repeated_until = offset, after, after
    at = after
    while at <= until:
        now = offset_at(at, zone)
        if now > offset:
            before, skipped_until = offset, at + now - offset
        elif now < offset:
            repeated_until = at + offset - now
        offset = now
        by_clock = pattern.matches(local_at(at, offset))
        by_old_clock = at < skipped_until and pattern.matches(local_at(at, before))
        if pattern.hours is None:
            is_tick = by_clock
        else:
            is_tick = (by_clock and at >= repeated_until) or by_old_clock
        if is_tick and at > after:
            found.append(at)
        at += MINUTE
    return found


def offset_at(at: int, zone: ZoneInfo) -> int:
    """Milliseconds that the clock of a zone is ahead of UTC."""
    offset = datetime.fromtimestamp(at / 1000, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


def local_at(at: int, offset: int) -> datetime:
    """What a clock that is so far ahead shows."""
    return datetime.fromtimestamp((at + offset) / 1000, UTC).replace(tzinfo=None)


patterns = st.builds(
    Pattern,
    st.frozensets(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]), min_size=1, max_size=4),
    st.none() | st.frozensets(st.integers(0, 23), min_size=1, max_size=23)
    | st.frozensets(st.integers(0, 4), min_size=1, max_size=5),
    st.none() | st.frozensets(st.integers(0, 6), min_size=1, max_size=6),
)  # fmt: skip


@given(patterns, st.sampled_from(CHANGES), st.integers(-2000, 2000))
def test_no_tick_is_lost_or_doubled(pattern: Pattern, change: tuple[str, str], shift: int) -> None:
    """Around every change of the clock the ticks are those of a walk from minute to minute."""
    zone, at = change
    # The walk begins a day ahead, to have seen the change that may be just over.
    after = ms(at) + shift * MINUTE
    until = after + 26 * 60 * MINUTE
    walked = reference(pattern, ZoneInfo(zone), after - 24 * 60 * MINUTE, until)
    assert ticks(Cron(pattern.expression, zone), after, until) == [t for t in walked if t > after]


@given(patterns.filter(lambda pattern: pattern.hours is not None), st.sampled_from(CHANGES))
def test_each_local_time_comes_once(pattern: Pattern, change: tuple[str, str]) -> None:
    """Of given hours, each time that a calendar would show is one tick, as RFC 5545 has it."""
    zone, at = change
    first = datetime.fromisoformat(at).replace(hour=0, minute=0) - timedelta(days=1)
    shown = [first + timedelta(minutes=n) for n in range(4 * 24 * 60)]
    meant = [t.replace(tzinfo=ZoneInfo(zone), fold=0) for t in shown if pattern.matches(t)]
    moments = sorted({round(one.timestamp() * 1000) for one in meant})
    start = round(shown[0].replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    end = round(shown[-1].replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    assert ticks(Cron(pattern.expression, zone), start - 1, end) == moments


@pytest.mark.parametrize(("zone", "at"), CHANGES)
def test_every_hour_goes_by_real_time(zone: str, at: str) -> None:
    """What is every five minutes stays so, whatever the clock does."""
    found = ticks(Cron("*/5 * * * *", zone), ms(at) - 180 * MINUTE, ms(at) + 180 * MINUTE)
    assert {after - before for before, after in pairwise(found)} == {5 * MINUTE}


def test_seconds_in_an_hour_that_is_skipped() -> None:
    """Six fields are no exception: nothing is lost, as cronsim alone would."""
    cron = Cron("30 30 2 * * *", "Europe/Madrid")
    found = [cron.local(at).isoformat() for at in upcoming(cron, ms("2026-03-28T12:00"), 2)]
    assert found == ["2026-03-29T03:30:30+02:00", "2026-03-30T02:30:30+02:00"]


def test_clock_changes_of_a_zone_are_found() -> None:
    """The changes of a zone's clock are found; UTC and intervals have none."""
    start, end = ms("2026-01-01"), ms("2027-01-01")
    found = [(iso(c.at), c.gain) for c in changes(Cron("@daily", "Europe/Madrid"), start, end)]
    hour = 60 * MINUTE
    assert found == [("2026-03-29T01:00:00Z", hour), ("2026-10-25T01:00:00Z", -hour)]
    assert list(changes(Cron("@daily"), start, end)) == []
    assert list(changes(Every(1000), start, end)) == []


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    """`@daily` and its like are what cron knows them for."""
    assert Cron(alias).next_after(0) == Cron(ALIASES[alias].upper()).next_after(0)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("* * *", "has 3 fields"),
        ("@reboot", "has 1 fields"),
        ("61 * * * *", "Bad minute"),
        ("0 0 30 2 *", "invalid cron expression"),
        ("0 0 * * fri-mon", "Bad day-of-week"),
        ("", "has 0 fields"),
    ],
)
def test_what_cannot_be_meant(expression: str, complaint: str) -> None:
    """A mistake is told where the expression is written."""
    with pytest.raises(UsageError, match=complaint):
        Cron(expression)


def test_zone_that_is_unknown() -> None:
    """The error says what would do."""
    with pytest.raises(UsageError, match="Europe/Madrid"):
        Cron("@daily", "Europe/Madird")


def test_interval_too_short() -> None:
    """A thousand jobs a second are no schedule."""
    with pytest.raises(UsageError, match="100 ms or more"):
        interval_of("10ms")


@given(st.integers(1, 10**7), st.integers(0, 10**12), st.integers(0, 10**13))
def test_interval_is_counted_from_its_anchor(interval: int, anchor: int, after: int) -> None:
    """The next time is later, by at most one interval, and a whole number of them away."""
    found = Every(interval, anchor).next_after(after)
    assert found is not None
    assert 0 < found - after <= interval
    assert (found - anchor) % interval == 0


@given(patterns, st.sampled_from(CHANGES), st.integers(0, 5000))
def test_last_tick_until(pattern: Pattern, change: tuple[str, str], minutes: int) -> None:
    """What is found from the end is what is found from the beginning."""
    zone, at = change
    cron = Cron(pattern.expression, zone)
    first = cron.next_after(ms(at))
    assert first is not None
    until = first + minutes * MINUTE
    assert last_until(cron, first, until) == ticks(cron, first - 1, until)[-1]


@given(st.integers(-86_399, 86_399))
def test_fixed_offsets(offset: int) -> None:
    """An offset is written, read, and goes by itself: the clock of such a zone never changes."""
    zone = timezone(timedelta(seconds=offset))
    cron = Cron("0 9 * * *", zone_name(zone))
    tick = cron.next_after(ms("2026-03-01T00:00"))
    assert tick is not None
    assert cron.local(tick).utcoffset() == timedelta(seconds=offset)
    assert cron.local(tick).hour == 9
    assert cron.next_after(tick) == tick + 24 * 60 * MINUTE
    assert not list(changes(cron, tick, tick + 400 * 24 * 60 * MINUTE))


@pytest.mark.parametrize("after", ["9990-06-01", "9998-06-01", "9999-12-31T23:59"])
def test_cron_to_the_end_of_the_calendar(after: str) -> None:
    """A cron expression has no times after the year 9990."""
    assert Cron("@yearly").next_after(ms(after)) is None
    assert Cron("@yearly", "Europe/Madrid").next_after(ms("9990-06-01")) is None


def test_hourly_times_move_with_no_change() -> None:
    """A schedule of every hour goes by real time: a change of the clock moves none of its times."""
    cron = Cron("@hourly", "Europe/Madrid")
    (change,) = changes(cron, ms("2026-01-01"), ms("2026-06-01"))
    assert cron.moved_by(change) is None


def test_interval_too_long() -> None:
    """An interval beyond a hundred years is refused."""
    with pytest.raises(UsageError, match="use 36525 days or less"):
        interval_of("36526d")


def test_interval_to_the_end_of_the_calendar() -> None:
    """A schedule ends there, as one by a cron expression does."""
    every = Every(interval_of("36525d"))
    found = list(upcoming(every, 0, 1000))
    assert len(found) < 100
    assert datetime.fromtimestamp(found[-1] / 1000, UTC).year > 9800
    assert every.next_after(found[-1]) is None


@pytest.mark.parametrize("date", ["30 2", "31 2,4", "31 4,6,9,11"])
def test_date_that_never_comes_is_refused(date: str) -> None:
    """A cron expression without any date raises, and names itself."""
    with pytest.raises(UsageError, match=f"'0 0 {date} \\*': Bad day-of-month"):
        Cron(f"0 0 {date} *")


def test_timing_is_put_into_english() -> None:
    """Both kinds of timing say when they are due."""
    assert Every(1500).in_english == "Every 1.5 s"
    assert Cron("0 9 * * mon").in_english == "At 09:00 on Monday"


def test_change_moves_only_times_that_it_skips_or_repeats() -> None:
    """The change of Madrid skips 02:30. It moves neither 05:00 nor the times of every hour."""
    skipped = Cron("30 2 * * *", "Europe/Madrid")
    (change,) = changes(skipped, ms("2026-03-01"), ms("2026-04-01"))
    assert skipped.moved_by(change) is not None
    assert Cron("0 5 * * *", "Europe/Madrid").moved_by(change) is None
    hourly = Cron("30 * * * *", "Europe/Madrid")
    assert hourly.is_hourly
    assert hourly.moved_by(change) is None
