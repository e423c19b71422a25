"""What may be in the overflow streams: jobs for which some worker had no thread or process free."""

from typing import TYPE_CHECKING

from aiostreamq.worker.pool import MOST_WAITING
from aiostreamq.worker.roles import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.model.place import Place
    from aiostreamq.worker.pool import Pool


class Overflow:
    """Says when there is something to read, and how much this worker can start."""

    def __init__(
        self,
        pools: "Mapping[Place, Pool]",
        places: "Callable[[], set[Place | None]]",
        wake: "Callable[[], None]",
    ) -> None:
        """Prepare.

        Args:
            pools: Of this worker.
            places: Says where the tasks of this worker run; None is the event loop.
            wake: Has the reader look again.
        """
        self._pools = pools
        self._places = places
        self._wake = wake
        self._open: set[Place] = set(pools)  # whose streams may hold something

    def hear(self, place: "Place") -> None:
        """A worker says that there is something."""
        self._open.add(place)
        self.look()

    def look_again(self) -> None:
        """Something may have been said unheard."""
        self._open.update(self._pools)
        self.look()

    def look(self) -> None:
        """Have the reader look if it can take something: a place may have come free."""
        if self.wanted() is not None:
            self._wake()

    def wanted(self) -> Wanted | None:
        """Return what to read now, None for nothing."""
        for place in self._open:
            room = self._pools[place].room
            if room > 0 and place in self._places():
                return Wanted(place, room)
        return None

    def most_to_read(self, fetched: int, count: int) -> int:
        """How many of *count* jobs to read from the lanes.

        If all tasks are for threads, or all for processes, others may have what could only wait
        here. Else some may run on the event loop, and what cannot start here overflows.
        """
        if any(len(pool.waiting) > MOST_WAITING for pool in self._pools.values()):
            return 0
        places = self._places()
        place = places.pop() if len(places) == 1 else None
        return count if place is None else self._pools[place].backlog_room - fetched

    def note(self, place: "Place", *, asked: int, found: int) -> None:
        """So many were asked for, and found."""
        if found < asked:
            self._open.discard(place)
