"""One heap of deadlines for all running jobs: a timer each would cost more than most jobs."""

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class CanEnd(Protocol):
    """Something whose deadline may have become pointless."""

    is_over: bool


T = TypeVar("T", bound=CanEnd)

# Seconds: what event loops can be trusted to count to. Nothing runs for longer.
FARTHEST = 365 * 86400.0

# Ended things stay in the heap until they are due or make up most of it.
_SLACK = 64


class Deadlines(Generic[T]):
    """Calls back when the time of something that is not over has come."""

    def __init__(self, expire: "Callable[[T], None]") -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._compact_at = _SLACK
        self._timer: asyncio.TimerHandle | None = None

    def add(self, thing: T, after: float) -> None:
        """Expire *thing* in *after* seconds, unless it is over by then."""
        when = self._loop.time() + min(after, FARTHEST)
        heappush(self._heap, (when, next(self._order), thing))
        if self._heap[0][2] is thing:
            self._arm()
        if len(self._heap) > self._compact_at:
            self._compact()

    def close(self) -> None:
        """Let nothing expire any more."""
        self._heap.clear()
        self._arm()

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].is_over]
        heapify(self._heap)
        self._compact_at = 2 * len(self._heap) + _SLACK
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = self._loop.call_at(self._heap[0][0], self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        try:
            while self._heap and (self._heap[0][0] <= now or self._heap[0][2].is_over):
                thing = heappop(self._heap)[2]
                if not thing.is_over:
                    self._expire(thing)
        finally:
            self._arm()  # also if one raises: the next turn of the loop goes on with the others
