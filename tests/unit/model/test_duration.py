"""Durations as numbers, strings and timedeltas."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq import UsageError
from aiostreamq.model.duration import LONGEST, Duration, seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        ("250ms", 0.25),
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        (" 2 h ", 7200.0),
        (timedelta(minutes=1, milliseconds=5), 60.005),
    ],
)
def test_every_way_to_write_it(written: Duration, meant: float) -> None:
    """Numbers are seconds; strings name their unit; a timedelta is what it is."""
    assert seconds("timeout", written) == pytest.approx(meant)


@given(st.floats(min_value=0, max_value=LONGEST))
def test_seconds_stay_as_they_are(given_seconds: float) -> None:
    """No number of seconds is changed."""
    assert seconds("timeout", given_seconds) == given_seconds


@given(st.integers(0, 10**5), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_units(count: int, unit: str) -> None:
    """A written duration is its number times its unit."""
    one = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert seconds("timeout", f"{count}{unit}") == pytest.approx(count * one)


@pytest.mark.parametrize(
    "nonsense",
    [
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        10**400,
        10**5000,
        1e308,
        LONGEST * 1.01,
        timedelta.max,
        True,
        "",
        "10",
        "-5s",
        "5 parsecs",
        "s",
        "1e3s",
        "10s\n5s",
        timedelta(seconds=-1),
        *(None, b"10s", [10], datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_is_no_length_of_time(nonsense: Any) -> None:
    """It is refused, and the option and the value are named."""
    with pytest.raises(UsageError, match=r"^result_ttl=.* is (not a|too long a) duration"):
        seconds("result_ttl", nonsense)
