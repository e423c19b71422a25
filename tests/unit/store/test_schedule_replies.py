"""Replies of the scripts of schedules."""

from __future__ import annotations

import pytest

from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.schedule_replies import Due, Fired, Page, read_fired, read_page, state_of

#: One schedule, as due_schedules.lua returns it.
ROW = [b"s", b"1", b"5000", b"", b"", b"", b"", 0, b"{}"]

#: The values of one schedule without a tick.
STATE: dict[str, bytes | None] = {
    "rev": b"1", "at": None, "held": None, "paused": None, "code": None, "runs": None,
    "skipped": None, "last": None, "last_at": None, "seen": None,
}  # fmt: skip


def test_page() -> None:
    """A reply as it should be is read in full."""
    now_ms, page = read_page([250, 9000, 3, 1, *ROW])
    assert now_ms == 9000
    assert page == Page([Due("s", "1", 5000, None, "", False, b"{}")], [], True, 0.25, 1)


def test_fired() -> None:
    """Each answer is a number, or the id of a job."""
    assert read_fired([1, b"old", 5]) == [Fired.ENQUEUED, "old", Fired.LEFT_OUT]


@pytest.mark.parametrize(
    ("field", "value"),
    [("runs", b"many"), ("at", b"05"), ("seen", b"9" * 30), ("rev", b"")],
)
def test_damaged_state(field: str, value: bytes) -> None:
    """The schedule is unreadable, and the reason names the field."""
    assert not isinstance(state_of(b"s", b"{}", [*STATE.values()]), UnreadableSchedule)
    found = state_of(b"s", b"{}", [*{**STATE, field: value}.values()])
    assert isinstance(found, UnreadableSchedule)
    assert repr(field) in found.why or "state is gone" in found.why
