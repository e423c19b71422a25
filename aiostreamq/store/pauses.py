"""Pausing tasks and lanes, and resuming them."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.pauses import holding
from aiostreamq.store.queue import pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.queue import QueueStore


class PauseStore:
    """The pauses of one queue. A task is written as "task:<name>", a lane as "lane:<name>"."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = [queue.keys.paused, queue.keys.control]

    async def pause(self, names: "Sequence[str]", until: str) -> int:
        """Pause tasks and lanes; return how many were not paused before.

        Args:
            names: The tasks and lanes.
            until: "0" for until they are resumed, or a time written like an expiry.
        """
        return cast("int", await self._queue.run("pause", self._keys, [until, *names]))

    async def resume(self, names: "Sequence[str]") -> int:
        """Resume tasks and lanes; return how many were paused."""
        return cast("int", await self._queue.run("resume", self._keys, names))

    async def paused(self) -> tuple[int, dict[str, int]]:
        """Return the time, and until when each task and lane is paused, in ms; 0 means no end."""
        found = await self._queue.run("list_pauses", self._keys, [])
        now_ms, *pairs = cast("tuple[int, *tuple[bytes, ...]]", found)
        self._queue.clock.set(now_ms)
        return now_ms, holding(pairs_of(pairs), now_ms)
