"""Milliseconds and datetimes."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.model.time import After, At, milliseconds_since_1970, moment, moment_or_none


@given(st.integers(0, 253_402_300_799_999))
def test_moment_and_back(ms: int) -> None:
    """A millisecond survives the way into a datetime and back."""
    assert milliseconds_since_1970(moment(ms)) == ms


def test_moment_beyond_the_calendar() -> None:
    """Far moments become the last that there is."""
    assert moment(1e18) == moment(float("inf")) == datetime.max.replace(tzinfo=UTC)


def test_no_moment() -> None:
    """None stays None."""
    assert moment_or_none(None) is None
    assert moment_or_none(1500) == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)


def test_zone_does_not_matter() -> None:
    """A moment is the same in every zone."""
    at = datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert milliseconds_since_1970(at) == 0


def test_relative_and_fixed_times_differ() -> None:
    """The same number of milliseconds means something else in each."""
    assert After(5) != At(5)
    assert (After(5).to_wire(), At(5).to_wire()) == ("+5", "5")
