"""Schedules, which any worker fires when they are due."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.aio.batching import split
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.reads import ReadSize
from aiostreamq.store.schedule_replies import (
    STATE_FIELDS,
    Declared,
    Fired,
    Page,
    State,
    read_fired,
    read_page,
    shown,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many schedules, or ticks, one call or one page handles: some 2 ms of Redis.
TICK_LIMIT = 100

# How many declarations one call makes.
DECLARE_LIMIT = 200

# Milliseconds between two looks whether the job has ended for which a held tick waits.
HELD_LOOK_MS = 500


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

        Raises:
            BrokerError: Redis refused.
        """
        keys = [self._schedules, self._due, self._control]
        arguments = [self._prefix, name, definition, _written(due), int(replace)]
        answer = await self._queue.run("put_schedule", keys, arguments, deadline)
        return cast("int", answer)

    async def declare(
        self, declared: "Sequence[tuple[str, bytes, int | None]]", *, look: bool = False
    ) -> list[Declared]:
        """Declare what the code of a worker declares.

        Args:
            declared: Each as (name, definition, next tick).
            look: Only note that the code still declares them, and change nothing.

        Returns:
            A `Declared` for each.
        """
        keys = [self._schedules, self._due_code, self._control]
        answers: list[Declared] = []
        for start in range(0, len(declared), DECLARE_LIMIT):
            some = declared[start : start + DECLARE_LIMIT]
            arguments: list[Argument] = [self._prefix, int(look)]
            for name, definition, due in some:
                arguments += (name, definition, _written(due))
            reply = await self._queue.run("declare_schedules", keys, arguments)
            answers += map(Declared, cast("list[int]", reply))
        return answers

    async def due(self, declared: "Sequence[str]", skip: int = 0) -> Page:
        """Return schedules that are due, TICK_LIMIT at most.

        Args:
            declared: The schedules that the code here declares; those of other code are left out.
            skip: How many to leave out at the front. A schedule that was fired and is not due any
                more is not counted.

        Raises:
            BrokerError: Redis refused.
        """
        keys = [self._schedules, self._due, self._due_code]
        arguments = [self._prefix, skip, TICK_LIMIT, HELD_LOOK_MS, *declared]
        reply = await self._queue.run("due_schedules", keys, arguments)
        now_ms, page = read_page(reply)
        self._queue.clock.set(now_ms)
        return page

    async def fire(self, ticks: "Sequence[Tick]") -> list[Fired | str]:
        """Fire ticks; return a `Fired` for each.

        An answer may be the id of a job that has to be cancelled first.
        """
        keys = [self._due, self._due_code, self._queue.keys.delayed, self._control]
        answers: list[Fired | str] = []
        for some in split(ticks, TICK_LIMIT, lambda one: len(one.envelope)):
            arguments: list[Argument] = [self._prefix]
            for tick in some:
                arguments += (
                    tick.name, tick.rev, _written(tick.at), _written(tick.held),
                    _written(tick.following), _written(tick.planned), tick.job_id, tick.lane,
                    tick.mark, tick.start, f"{tick.overlap} {tick.max_runs}", tick.envelope,
                )  # fmt: skip
            reply = await self._queue.run("fire_schedules", keys, arguments)
            answers += read_fired(reply)
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
        answer = await self._queue.run("delete_schedule", keys, arguments, deadline)
        return answer == 1

    async def all(self, deadline: float | None = None) -> list[State | UnreadableSchedule]:
        """Return all schedules, sorted by name."""
        return [one async for page in self.pages(deadline) for one in page]

    async def pages(
        self, deadline: float | None = None
    ) -> "AsyncGenerator[list[State | UnreadableSchedule], None]":
        """Yield all schedules, sorted by name, in pages: all at once would block the event loop.

        Args:
            deadline: Seconds after which to stop trying to ask Redis for some of them.
        """
        pairs = sorted((await self._definitions(deadline)).items())
        for start in range(0, len(pairs), TICK_LIMIT):
            some = pairs[start : start + TICK_LIMIT]
            states = (self._state(name, definition, deadline) for name, definition in some)
            yield list(await asyncio.gather(*states))

    async def _definitions(self, deadline: float | None) -> dict[bytes, bytes]:
        """Return the definitions by name. They can be as long as payloads, so some at a time."""
        found: dict[bytes, bytes] = {}
        cursor, size = b"0", ReadSize()
        while True:
            count = min(size.most, TICK_LIMIT)
            reply = await self._queue.call(
                "HSCAN", self._schedules, cursor, "COUNT", count, deadline=deadline
            )
            cursor, flat = cast("tuple[bytes, list[bytes]]", reply)
            found.update(zip(flat[::2], flat[1::2], strict=True))
            size.note(len(flat) // 2, sum(map(len, flat)))
            if cursor == b"0":
                return found

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
            found = await self._queue.call("HMGET", key, *STATE_FIELDS, deadline=deadline)
        except CommandError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return UnreadableSchedule(shown(name), "", str(error))
        return state_of(name, definition, cast("list[bytes | None]", found))


def _written(moment: int | None) -> str:
    return "" if moment is None else str(moment)
