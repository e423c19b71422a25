"""The table of what clock changes do to schedules."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from aiostreamq.model.schedules.timing import Cron, upcoming
from tests.unit.model.test_timing import CHANGES, ticks


def test_table_of_the_documentation_is_so() -> None:
    """What the guide shows of both changes in three zones is what comes."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "schedules.md"
    rows = re.findall(
        r"^\| (\w+/\w+) \| ([\d-]+), .* \| (\S+)(?: \(.*\))? \| (\S+)(?: \(.*\))? \| (\d) \|$",
        page.read_text(),
        flags=re.MULTILINE,
    )
    assert [row[0] for row in rows] == [zone for zone, _ in CHANGES]
    for zone, day, *told in rows:
        start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
        midnight = round(start.timestamp() * 1000) - 1
        found: list[str] = []
        for expression in ("30 2 * * *", "45 1 * * *"):
            cron = Cron(expression, zone)
            [at] = [
                cron.local(t)
                for t in upcoming(cron, midnight, 2)
                if cron.local(t).date() == start.date()
            ]
            assert at.fold == 0
            found.append(f"{at:%H:%M}")
        half_hourly = Cron("*/30 * * * *", zone)
        one, four = (round(start.replace(hour=hour).timestamp() * 1000) for hour in (1, 4))
        found.append(str(len(ticks(half_hourly, one - 1, four - 1))))
        assert found == told
