"""Reading the replies of the scripts of schedules.

If the fields of a schedule are damaged, that schedule is unreadable, and the others are read.
"""

import re
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.schedules.unreadable import UnreadableSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.connection.link import Reply


class Declared(IntEnum):
    """The state in which declare_schedules.lua found a schedule."""

    SAME = 0  #: it was there as declared
    NEW = 1
    CHANGED = 2  #: it was another until now
    TAKEN = 3  #: the name is that of a schedule made at run time, which stays as it is
    ABSENT = 4  #: it is not there, and was only looked for


class Fired(IntEnum):
    """The effect that fire_schedules.lua had on a tick."""

    NOTHING = 0  #: another worker was first, or the schedule has changed
    ENQUEUED = 1
    SKIPPED = 2  #: the last job has not ended
    HELD = 3  #: until the last job ends
    THERE_ALREADY = 4  #: its job was
    LEFT_OUT = 5  #: it was missed, or is one too many


class Due(NamedTuple):
    """A schedule that is due."""

    name: str
    rev: str  #: the number of the definition, which grows with each change
    at: int | None  #: the planned tick; may not be due yet
    held: int | None  #: a tick that waits until the last job has ended
    last: str  #: id of the last tick's job
    last_lives: bool  #: it has not ended
    definition: bytes


class Page(NamedTuple):
    """A page of schedules that are due."""

    due: list[Due]
    unreadable: list[UnreadableSchedule]
    has_more: bool  #: more are due after these
    wait: float | None  #: seconds until the next one is due; None if there is none
    looked: int = 0  #: how many were looked at: those that are paused or wait are not in the page


class State(NamedTuple):
    """The state of one schedule."""

    name: str
    definition: bytes
    rev: str
    at: int | None
    held: int | None
    is_paused: bool
    is_code: bool  #: whether code declares it; otherwise it was made at run time
    runs: int
    skipped: int
    last: str  #: id of the last tick's job
    last_at: int | None  #: the last tick
    seen: int | None  #: when a worker declared it last, ms since 1970


# How the scripts write a number. They compare numbers as text, so a worker that reads another form
# would fire the tick again and again, each time in vain.
_NUMBER = rb"0|-?[1-9][0-9]{0,17}"

# The fields of a schedule's hash, in the order of those of State.
STATE_FIELDS = ("rev", "at", "held", "paused", "code", "runs", "skipped", "last", "last_at", "seen")


# How many values due_schedules.lua returns about each schedule.
_DUE_FIELDS = 9


def read_page(reply: "Reply") -> tuple[int, Page]:
    """Read the reply of due_schedules.lua; return Redis's time in ms too."""
    wait_ms, now_ms, left, looked, *flat = cast("list[int]", reply)
    values = cast("list[bytes]", flat)
    rows = [_due(values[at : at + _DUE_FIELDS]) for at in range(0, len(values), _DUE_FIELDS)]
    page = Page(
        [one for one in rows if isinstance(one, Due)],
        [one for one in rows if isinstance(one, UnreadableSchedule)],
        left > 0,
        None if wait_ms < 0 else wait_ms / 1000,
        looked,
    )
    return now_ms, page


def read_fired(reply: "Reply") -> list[Fired | str]:
    """Read the reply of fire_schedules.lua."""
    answers = cast("list[int | bytes]", reply)
    return [one.decode() if isinstance(one, bytes) else Fired(one) for one in answers]


def _due(row: "Sequence[bytes]") -> Due | UnreadableSchedule:
    """Read one schedule in the reply of due_schedules.lua."""
    name, rev, at, held, last, runs, skipped, lives, definition = row
    try:
        # fire_schedules.lua adds to these.
        _count("runs", runs)
        _count("skipped", skipped)
        if not definition:
            raise ValueError("it has no definition")
        return Due(
            name.decode(), _rev(rev), _number("at", at), _number("held", held),
            last.decode(), bool(lives), definition,
        )  # fmt: skip
    except ValueError as error:
        return UnreadableSchedule(shown(name), shown(rev), str(error))


def state_of(
    name: bytes, definition: bytes, values: "Sequence[bytes | None]"
) -> State | UnreadableSchedule:
    """Read the values of STATE_FIELDS of a schedule."""
    rev, at, held, paused, code, runs, skipped, last, last_at, seen = [one or b"" for one in values]
    try:
        return State(
            name.decode(), definition, _rev(rev), _number("at", at), _number("held", held),
            bool(paused), bool(code),
            _count("runs", runs), _count("skipped", skipped), last.decode(),
            _number("last_at", last_at), _number("seen", seen),
        )  # fmt: skip
    except ValueError as error:
        return UnreadableSchedule(shown(name), shown(rev), str(error))


def _rev(text: bytes) -> str:
    if not text:
        raise ValueError("its state is gone, or another program's")
    return text.decode()


def _number(field: str, text: bytes) -> int | None:
    if not text:
        return None
    if not re.fullmatch(_NUMBER, text):
        raise ValueError(f"its field {field!r} is {text[:40]!r}")
    return int(text)


def _count(field: str, text: bytes) -> int:
    """Return a counter, which the scripts create when they first add to it."""
    return _number(field, text) or 0


def shown(name: bytes) -> str:
    """Return a name as text, also if it is not UTF-8."""
    return name.decode(errors="backslashreplace")
