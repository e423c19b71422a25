"""Schedules, which any worker fires when they are due."""

import asyncio
import re
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.connection.link import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many schedules, or ticks, one call handles: some 2 ms of Redis.
TICK_LIMIT = 100

# How many declarations one call makes.
DECLARE_LIMIT = 200

# Milliseconds between two looks whether the job has ended for which a held tick waits.
HELD_LOOK_MS = 500


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


class Tick(NamedTuple):
    """The handling of one tick."""

    name: str
    rev: str
    at: int | None  #: this and the next one as they were read
    held: int | None
    following: int | None  #: the tick after it; None if it is the last
    planned: int | None  #: the tick; None if it is skipped
    job_id: str
    lane: str
    mark: str
    start: int  #: ms since 1970 before which the job must not start; 0 is now
    overlap: str
    max_runs: int  #: 0 means no limit
    envelope: bytes


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
_FIELDS = ("rev", "at", "held", "paused", "code", "runs", "skipped", "last", "last_at", "seen")


class ScheduleStore:
    """The schedules of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._prefix = queue.keys.prefix
        self._schedules = queue.keys.schedules
        self._due = queue.keys.schedule_due
        self._due_code = queue.keys.schedule_due_code
        self._control = queue.keys.control

    async def put(
        self, name: str, definition: bytes, due: int | None, deadline: float, *, replace: bool
    ) -> int:
        """Write a schedule.

        Returns:
            1 if it was written, 0 if the name is taken (with *replace*: unknown), -1 if code
            declares it.
        """
        keys = [self._schedules, self._due, self._control]
        arguments = [self._prefix, name, definition, _written(due), int(replace)]
        return cast("int", await self._queue.run("put_schedule", keys, arguments, deadline))

    async def declare(
        self, declared: "Sequence[tuple[str, bytes, int | None]]", *, look: bool = False
    ) -> list[int]:
        """Declare what the code of a worker declares.

        Args:
            declared: Each as (name, definition, next tick).
            look: Only note that the code still declares them, and change nothing.

        Returns:
            A `Declared` for each.
        """
        keys = [self._schedules, self._due_code, self._control]
        answers: list[int] = []
        for start in range(0, len(declared), DECLARE_LIMIT):
            arguments: list[Argument] = [self._prefix, int(look)]
            for name, definition, due in declared[start : start + DECLARE_LIMIT]:
                arguments += (name, definition, _written(due))
            answers += cast(
                "list[int]", await self._queue.run("declare_schedules", keys, arguments)
            )
        return answers

    async def due(self, declared: "Sequence[str]", passed: int = 0) -> Page:
        """Return schedules that are due, TICK_LIMIT at most.

        Args:
            declared: The schedules that the code here declares; those of other code are left out.
            passed: How many to skip at the front.
        """
        keys = [self._schedules, self._due, self._due_code]
        arguments = [self._prefix, passed, TICK_LIMIT, HELD_LOOK_MS, *declared]
        found = await self._queue.run("due_schedules", keys, arguments)
        wait_ms, now_ms, left, *flat = cast("list[int]", found)
        self._queue.clock.set(now_ms)
        rows = [_due(flat[start : start + 9]) for start in range(0, len(flat), 9)]
        return Page(
            [one for one in rows if isinstance(one, Due)],
            [one for one in rows if isinstance(one, UnreadableSchedule)],
            left > 0,
            None if wait_ms < 0 else wait_ms / 1000,
        )

    async def fire(self, ticks: "Sequence[Tick]") -> list[int | str]:
        """Fire ticks; return a `Fired` for each.

        An answer may be the id of a job that has to be cancelled first.
        """
        keys = [self._due, self._due_code, self._queue.keys.delayed, self._control]
        answers: list[int | str] = []
        for begin in range(0, len(ticks), TICK_LIMIT):
            arguments: list[Argument] = [self._prefix]
            for tick in ticks[begin : begin + TICK_LIMIT]:
                arguments += (
                    tick.name, tick.rev, _written(tick.at), _written(tick.held),
                    _written(tick.following), _written(tick.planned), tick.job_id, tick.lane,
                    tick.mark, tick.start, f"{tick.overlap} {tick.max_runs}", tick.envelope,
                )  # fmt: skip
            found = cast(
                "list[int | bytes]", await self._queue.run("fire_schedules", keys, arguments)
            )
            answers += (one if isinstance(one, int) else one.decode() for one in found)
        return answers

    async def pause(self, name: str, deadline: float) -> int:
        """Pause a schedule; return 1, 0 if it was paused, or -1 if it is unknown."""
        return await self._set_paused([name, "", "", 1], deadline)

    async def resume(self, name: str, rev: str, due: int | None, deadline: float) -> int:
        """Resume a schedule at *due*; return as `pause`, or -2 if *rev* is outdated."""
        return await self._set_paused([name, rev, _written(due), 0], deadline)

    async def _set_paused(self, arguments: "list[Argument]", deadline: float) -> int:
        keys = [self._due, self._due_code, self._control]
        answer = await self._queue.run("pause_schedule", keys, [self._prefix, *arguments], deadline)
        return cast("int", answer)

    async def remove(self, name: str, deadline: float | None, *, unseen_ms: int = 0) -> bool:
        """Delete a schedule; with *unseen_ms* only if no code declared it for that long."""
        keys = [self._schedules, self._due, self._due_code]
        arguments = [self._prefix, name, unseen_ms]
        return await self._queue.run("delete_schedule", keys, arguments, deadline) == 1

    async def all(self, deadline: float | None = None) -> list[State | UnreadableSchedule]:
        """Return all schedules, sorted by name."""
        found = await self._queue.call("HGETALL", self._schedules, deadline=deadline)
        flat = cast("list[bytes]", found)
        pairs = sorted(zip(flat[::2], flat[1::2], strict=True))
        states = (self._state(name, definition, deadline) for name, definition in pairs)
        return list(await asyncio.gather(*states))

    async def get(
        self, name: str, deadline: float | None = None
    ) -> State | UnreadableSchedule | None:
        """Return one schedule, or None."""
        found = await self._queue.call("HGET", self._schedules, name, deadline=deadline)
        definition = cast("bytes | None", found)
        if definition is None:
            return None
        return await self._state(name.encode(), definition, deadline)

    async def _state(
        self, name: bytes, definition: bytes, deadline: float | None
    ) -> State | UnreadableSchedule:
        key = f"{self._prefix}schedule:".encode() + name
        try:
            found = await self._queue.call("HMGET", key, *_FIELDS, deadline=deadline)
        except CommandError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return UnreadableSchedule(_shown(name), "", str(error))
        values = [one or b"" for one in cast("list[bytes | None]", found)]
        rev, at, held, paused, code, runs, skipped, last, last_at, seen = values
        try:
            return State(
                name.decode(), definition, _rev(rev), _number("at", at), _number("held", held),
                paused == b"1", code == b"1",
                _number("runs", runs) or 0, _number("skipped", skipped) or 0, last.decode(),
                _number("last_at", last_at), _number("seen", seen),
            )  # fmt: skip
        except ValueError as error:
            return UnreadableSchedule(_shown(name), _shown(rev), str(error))


def _due(row: "Sequence[object]") -> Due | UnreadableSchedule:
    """Read one schedule in the reply of due_schedules.lua."""
    name, rev, at, held, last, runs, skipped, lives, definition = cast(
        "tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, int, bytes]", row
    )
    try:
        # fire_schedules.lua adds to these.
        _number("runs", runs)
        _number("skipped", skipped)
        if not definition:
            raise ValueError("it has no definition")
        return Due(
            name.decode(), _rev(rev), _number("at", at), _number("held", held),
            last.decode(), lives == 1, definition,
        )  # fmt: skip
    except ValueError as error:
        return UnreadableSchedule(_shown(name), _shown(rev), str(error))


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


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _written(moment: int | None) -> str:
    return "" if moment is None else str(moment)
