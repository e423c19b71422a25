"""Pauses of tasks and lanes, as callers give them."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import expiry_of, seconds
from aiostreamq.model.options import checked_lane
from aiostreamq.model.pauses import pause_fields, pauses_of
from aiostreamq.store.pauses import PauseStore

if TYPE_CHECKING:
    from aiostreamq.client.task_argument import Named
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.pauses import Pause
    from aiostreamq.model.time import When
    from aiostreamq.store.queue import QueueStore


class Pauses:
    """The pauses of one queue; `QueueClient` says what each method does for users."""

    def __init__(self, store: "QueueStore") -> None:
        self._store = store
        self._pauses = PauseStore(store)

    async def pause(
        self,
        task: "Named | str | None",
        lane: str | None,
        until: "Duration | datetime | None",
    ) -> None:
        """Pause a task or a lane, as `QueueClient.pause`."""
        limit = _end_of(until)
        await self._pauses.pause(self._fields(task, lane), limit)

    async def resume(self, task: "Named | str | None", lane: str | None) -> bool:
        """Resume a task or a lane, as `QueueClient.resume`."""
        return await self._pauses.resume(self._fields(task, lane)) > 0

    async def current(self) -> "list[Pause]":
        """Return the current pauses, as `QueueClient.paused`."""
        _, paused = await self._pauses.paused()
        return pauses_of(paused)

    def _fields(self, task: "Named | str | None", lane: str | None) -> list[str]:
        if lane is not None:
            # A pause of an unknown lane would have no effect, and the mistake would go unnoticed.
            self._store.place_of(checked_lane(lane))
        return pause_fields(None if task is None else name_of(task), lane)


def _end_of(until: "Duration | datetime | None") -> str:
    """Return the end of a pause as the script takes it; '0' for never."""
    if until is None:
        return "0"
    if not isinstance(until, datetime) and seconds("until", until) == 0:
        raise UsageError("until=0 would pause nothing; leave it out to wait for resume")
    return cast("When", expiry_of(until, "until")).to_wire()
