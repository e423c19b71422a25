"""Jobs that may not start yet, as only lent slots are free and they would await others."""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.task import Place
    from aiostreamq.worker.run.pool import Pool
    from aiostreamq.worker.run.slots import Slots

# How many jobs are kept unstarted, for each slot.
MOST_ASIDE = 10


class DeferredParents:
    """Keeps some, and moves the others away: what they await may be after them in their lane."""

    def __init__(
        self,
        pools: "Mapping[Place, Pool]",
        slots: "Slots",
        overflow: "Callable[[Sequence[Delivery]], None]",
    ) -> None:
        """Begin with nothing.

        Args:
            pools: The jobs of each have a line of their own.
            slots: Decide when one may start.
            overflow: Takes jobs that must not be kept here.
        """
        #: by the place in which they run; None is the event loop
        self.lines: dict[Place | None, deque[Delivery]] = {None: deque()}
        self.lines.update((place, deque()) for place in pools)
        self._pools = pools
        self._slots = slots
        self._most = MOST_ASIDE * slots.concurrency
        self._overflow = overflow
        self._excess: list[Delivery] = []

    def __bool__(self) -> bool:
        return any(self.lines.values())

    @property
    def room(self) -> int:
        """How many more of them may come, as they could start now."""
        return 0 if self else self._slots.parent_room

    def startable(self) -> "Iterator[tuple[deque[Delivery], Callable[[], bool]]]":
        """Yield each line, with a function that returns whether its next job may start."""
        for place, line in self.lines.items():
            if line:
                yield line, partial(self._slots.take_parents_in, place and self._pools[place])

    def put(self, delivery: "Delivery", place: "Place | None") -> None:
        """Keep a job, or move it away when `flush` is called."""
        is_full = sum(map(len, self.lines.values())) >= self._most
        (self._excess if is_full else self.lines[place]).append(delivery)

    def flush(self) -> None:
        """Move away the jobs that are too many."""
        if self._excess:
            excess, self._excess = self._excess, []
            self._overflow(excess)
