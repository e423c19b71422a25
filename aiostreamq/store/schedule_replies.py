"""Reading the replies of the scripts of schedules, strictly.

The fields of a schedule may be damaged by another program: that schedule is unreadable then, and
the others are read. A reply of another shape is an error.
"""

import re
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.errors import BrokerError
from aiostreamq.model.schedules.unreadable import UnreadableSchedule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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


# How the scripts write a number. They compare numbers as text.
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,17}")

# The fields of a schedule's hash, in the order of those of State.
STATE_FIELDS = ("rev", "at", "held", "paused", "code", "runs", "skipped", "last", "last_at", "seen")


# How many values due_schedules.lua returns about each schedule.
_DUE_FIELDS = 9

_DECLARED = frozenset(map(int, Declared))
_FIRED = frozenset(map(int, Fired))


class ScheduleReplies:
    """Reads the replies of the scripts."""

    def __init__(self, key: str) -> None:
        """Prepare to read; *key* is that of the schedules, for errors."""
        self._key = key

    def page(self, reply: "Reply") -> tuple[int, Page]:
        """Read the reply of due_schedules.lua; return Redis's time in ms too.

        Raises:
            BrokerError: It has another shape.
        """
        match self._sequence("due_schedules", reply):
            case [int(wait_ms), int(now_ms), int(left), *flat] if len(flat) % _DUE_FIELDS == 0:
                pass
            case _:
                raise self._misshapen("due_schedules")
        starts = range(0, len(flat), _DUE_FIELDS)
        rows = [self._due(flat[start : start + _DUE_FIELDS]) for start in starts]
        page = Page(
            [one for one in rows if isinstance(one, Due)],
            [one for one in rows if isinstance(one, UnreadableSchedule)],
            left > 0,
            None if wait_ms < 0 else wait_ms / 1000,
        )
        return now_ms, page

    def declared(self, reply: "Reply", count: int) -> list[Declared]:
        """Read the reply of declare_schedules.lua about *count* schedules.

        Raises:
            BrokerError: It has another shape.
        """
        script = "declare_schedules"
        answers = self._sequence(script, reply, count)
        return [Declared(self.number(script, one, _DECLARED)) for one in answers]

    def fired(self, reply: "Reply", count: int) -> list[Fired | str]:
        """Read the reply of fire_schedules.lua about *count* ticks.

        Raises:
            BrokerError: It has another shape.
        """
        script = "fire_schedules"
        return [
            one.decode() if isinstance(one, bytes) else Fired(self.number(script, one, _FIRED))
            for one in self._sequence(script, reply, count)
        ]

    def number(self, script: str, answer: "Reply", known: "Collection[int]") -> int:
        """Return the answer of a script, which is one of the numbers *known*.

        Raises:
            BrokerError: It is not.
        """
        if type(answer) is int and answer in known:
            return answer
        raise self._misshapen(script)

    def _due(self, row: "Sequence[Reply]") -> Due | UnreadableSchedule:
        """Read one schedule in the reply of due_schedules.lua."""
        match row:
            case [
                bytes(name), bytes(rev), bytes(at), bytes(held), bytes(last), bytes(runs),
                bytes(skipped), 0 | 1 as lives, bytes(definition),
            ]:  # fmt: skip
                pass
            case _:
                raise self._misshapen("due_schedules")
        try:
            # fire_schedules.lua adds to these.
            _count("runs", runs)
            _count("skipped", skipped)
            if not definition:
                raise ValueError("it has no definition")
            return Due(
                name.decode(), _rev(rev), _number("at", at), _number("held", held),
                last.decode(), lives == 1, definition,
            )  # fmt: skip
        except ValueError as error:
            return UnreadableSchedule(shown(name), shown(rev), str(error))

    def _sequence(
        self, script: str, reply: "Reply", length: int | None = None
    ) -> "Sequence[Reply]":
        """Return the reply of a script that is a sequence, of *length* if that is given."""
        if isinstance(reply, list | tuple) and length in {None, len(reply)}:
            return reply
        raise self._misshapen(script)

    def _misshapen(self, script: str) -> BrokerError:
        """Return the error for a reply of a script that this version does not understand."""
        return BrokerError(
            f"{script}.lua answered about key {self._key!r} in a way that this version of "
            f"aiostreamq does not understand: is there a proxy that changes replies?"
        )


def state_of(
    name: bytes, definition: bytes, values: "Sequence[bytes | None]"
) -> State | UnreadableSchedule:
    """Read the values of STATE_FIELDS of a schedule."""
    rev, at, held, paused, code, runs, skipped, last, last_at, seen = [one or b"" for one in values]
    try:
        return State(
            name.decode(), definition, _rev(rev), _number("at", at), _number("held", held),
            _flag("paused", paused), _flag("code", code),
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
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"its field {field!r} is {text[:40]!r}")
    return int(text)


def _count(field: str, text: bytes) -> int:
    """Return a counter, which the scripts create when they first add to it."""
    return _number(field, text) or 0


def _flag(field: str, text: bytes) -> bool:
    if text not in {b"", b"1"}:
        raise ValueError(f"its field {field!r} is {text[:40]!r}")
    return text == b"1"


def shown(name: bytes) -> str:
    """Return a name as text, also if it is not UTF-8."""
    return name.decode(errors="backslashreplace")
