"""Pauses of tasks and lanes, by the fields of the hash that keeps them."""

from datetime import UTC, datetime

import pytest

from aiostreamq import UsageError
from aiostreamq.model.pauses import Pause, pause_fields, pauses_of


def test_task_and_lane_have_a_field_each() -> None:
    """Both can be paused by one call."""
    assert pause_fields("size", "slow") == ["task:size", "lane:slow"]
    assert pause_fields(None, "slow") == ["lane:slow"]


def test_pause_of_nothing_is_refused() -> None:
    """It would look like a pause of all."""
    with pytest.raises(UsageError, match="specify task= or lane="):
        pause_fields(None, None)


def test_pauses_are_listed_by_name_with_the_tasks_first() -> None:
    """A pause without an end lasts until it is resumed."""
    found = pauses_of({"lane:slow": 0, "task:size": 1500, "task:keep": 0})
    end = datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert found == [Pause(task="keep"), Pause(task="size", until=end), Pause(lane="slow")]
