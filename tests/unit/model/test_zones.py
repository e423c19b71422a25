"""Time zones as schedules store them."""

from datetime import timedelta, timezone, tzinfo
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from aiostreamq import UsageError
from aiostreamq.model.schedules.zones import Zone, zone_name, zone_of


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (None, "UTC"),
        ("Europe/Madrid", "Europe/Madrid"),
        (ZoneInfo("Europe/Madrid"), "Europe/Madrid"),
        (timezone(timedelta(0)), "UTC"),
        (timezone(timedelta(hours=2)), "+02:00"),
        (timezone(timedelta(seconds=-5)), "-00:00:05"),
    ],
)
def test_zone_has_a_name_that_is_read_back(zone: Zone | None, name: str) -> None:
    """Whatever a user gives, any worker can look it up."""
    assert zone_name(zone) == name
    assert isinstance(zone_of(name), tzinfo)


@pytest.mark.parametrize("zone", [timezone(timedelta(microseconds=1)), 5])
def test_zone_without_a_name_is_refused(zone: object) -> None:
    """A worker could not look it up."""
    with pytest.raises(UsageError, match="tz="):
        zone_name(cast("Zone", zone))
