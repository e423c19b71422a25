"""Replies of the scripts of schedules are read strictly."""

from __future__ import annotations

import pytest

from aiostreamq.errors import BrokerError
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.connection.link import Reply
from aiostreamq.store.schedule_replies import Declared, Due, Fired, Page, ScheduleReplies, state_of

KEY = "aiostreamq:{mail}:schedules"
REPLIES = ScheduleReplies(KEY)

#: One schedule, as due_schedules.lua returns it.
ROW: list[Reply] = [b"s", b"1", b"5000", b"", b"", b"", b"", 0, b"{}"]

#: The values of one schedule without a tick.
STATE: dict[str, bytes | None] = {
    "rev": b"1", "at": None, "held": None, "paused": None, "code": None, "runs": None,
    "skipped": None, "last": None, "last_at": None, "seen": None,
}  # fmt: skip


def changed(place: int, value: Reply) -> list[Reply]:
    """Return a reply with a row in which one value is another."""
    return [-1, 9000, 0, *ROW[:place], value, *ROW[place + 1 :]]


def test_page() -> None:
    """A reply as it should be is read in full."""
    now_ms, page = REPLIES.page([250, 9000, 3, *ROW])
    assert now_ms == 9000
    assert page == Page([Due("s", "1", 5000, None, "", False, b"{}")], [], True, 0.25)


@pytest.mark.parametrize(
    "reply",
    [
        None, 7, b"text", [], [1, 2], [b"1", 9000, 0], [-1, None, 0], [-1, 9000, 0, *ROW[:-1]],
        [-1, 9000, 0, *ROW, b"more"], changed(0, 7), changed(2, 5000), changed(7, 2),
        changed(7, b"1"), changed(8, None), changed(8, [b"{}"]),
    ],
)  # fmt: skip
def test_page_of_another_shape(reply: Reply) -> None:
    """It is an error that names the script and the key, and not the values."""
    with pytest.raises(BrokerError, match=r"^due_schedules\.lua answered about key ") as caught:
        REPLIES.page(reply)
    assert KEY in str(caught.value)


def test_answers() -> None:
    """Each is one of those that the script can give, or the id of a job."""
    assert REPLIES.declared([0, 4], 2) == [Declared.SAME, Declared.ABSENT]
    assert REPLIES.fired([1, b"old", 5], 3) == [Fired.ENQUEUED, "old", Fired.LEFT_OUT]
    assert REPLIES.number("put_schedule", -1, {-1, 0, 1}) == -1


@pytest.mark.parametrize("reply", [None, 0, [], [0], [0, 9], [0, None], [0, True], [0, 1, 2]])
def test_answers_of_another_shape(reply: Reply) -> None:
    """One too many, one too few, or one that the script never gives is an error."""
    with pytest.raises(BrokerError, match=KEY):
        REPLIES.declared(reply, 2)
    with pytest.raises(BrokerError, match=KEY):
        REPLIES.fired(reply, 2)
    with pytest.raises(BrokerError, match=KEY):
        REPLIES.number("put_schedule", reply if reply != 0 else 9, {-1, 0, 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [("paused", b"yes"), ("paused", b"0"), ("code", b"true"), ("runs", b"many"), ("at", b"05")],
)
def test_damaged_state(field: str, value: bytes) -> None:
    """The schedule is unreadable, and the reason names the field."""
    assert not isinstance(state_of(b"s", b"{}", [*STATE.values()]), UnreadableSchedule)
    found = state_of(b"s", b"{}", [*{**STATE, field: value}.values()])
    assert isinstance(found, UnreadableSchedule)
    assert repr(field) in found.why
