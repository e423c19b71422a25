"""One heap for all deadlines: a timer for each would cost more than most of what it limits."""

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from aiostreamq import clock

if TYPE_CHECKING:
    from collections.abc import Callable


class State(Protocol):
    """The state of something."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will change it any more."""
        ...


class CanEnd(Protocol):
    """Something that may be over before its deadline."""

    @property
    def state(self) -> State:
        """Its state."""
        ...


T = TypeVar("T", bound=CanEnd)

# Seconds: the longest time that every event loop can count. Nothing runs for longer.
FARTHEST = 365 * 86400.0

# Things that are over stay in the heap until they are due or make up most of it.
_SLACK = 64


class Deadlines(Generic[T]):
    """Calls back at the deadline of each thing that is not over by then."""

    def __init__(self, expire: "Callable[[T], None]") -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._compact_at = _SLACK
        self._timer: asyncio.TimerHandle | None = None

    def add(self, thing: T, after: float) -> None:
        """Expire *thing* in *after* seconds, unless it is over by then."""
        when = clock.of_loop(self._loop) + min(after, FARTHEST)
        heappush(self._heap, (when, next(self._order), thing))
        if self._heap[0][2] is thing:
            self._arm()
        if len(self._heap) > self._compact_at:
            self._compact()

    def close(self) -> None:
        """Forget all deadlines."""
        self._heap.clear()
        self._arm()

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].state.is_over]
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
        now = clock.of_loop(self._loop)
        try:
            while self._heap and (self._heap[0][0] <= now or self._heap[0][2].state.is_over):
                thing = heappop(self._heap)[2]
                if not thing.state.is_over:
                    self._expire(thing)
        finally:
            self._arm()  # even if one raises: the next turn of the loop expires the others
