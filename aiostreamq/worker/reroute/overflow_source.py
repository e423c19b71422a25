"""Jobs that other workers left: in the overflow streams, or parked though the task is known here.

The overflow streams have jobs for which some worker had no free thread, process or slot.
"""

from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.model.delivery import Wanted
from aiostreamq.model.keys import OVERFLOW
from aiostreamq.store.parking import UNPARK_LIMIT
from aiostreamq.worker.run.pool import MOST_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiostreamq.client.task import Task
    from aiostreamq.model.keys import Spillway
    from aiostreamq.model.task import Place
    from aiostreamq.store.control_stream import ControlMessage
    from aiostreamq.worker.run.pool import Pool


class Overflow:
    """Says when there is something to read, and how much this worker can start."""

    def __init__(
        self,
        pools: "Mapping[Place, Pool]",
        tasks: "Mapping[str, Task[..., object]]",
        slots: "Callable[[], int]",
        wake_reader: "Callable[[], None]",
        may_unpark: "Callable[[str], bool]",
    ) -> None:
        """Prepare.

        Args:
            pools: The threads and processes of this worker.
            tasks: The tasks that this worker knows.
            slots: Returns how many jobs may start that await others.
            wake_reader: Has the reader look again.
            may_unpark: Returns whether a task is known here and is not paused.
        """
        self._pools = pools
        self._all = tuple(pools.values())
        self._tasks = tasks
        self._slots = slots
        self._wake_reader = wake_reader
        self._may_unpark = may_unpark
        # The tasks for which others have parked jobs, each with the number of the last message.
        self._parked: dict[str, int] = {}
        self._heard = 0  # messages about parked jobs
        self._counted = -1  # tasks when this was looked at
        self._needed: frozenset[Place | None] = frozenset()  # the places of tasks; None is the loop
        self._open: set[Spillway] = set()  # whose streams may hold something for this worker
        self._open_all()

    def handlers(self) -> "dict[str, Callable[[ControlMessage], None]]":
        """Return the handlers of messages about overflow, by their kind."""
        handlers = {kind: partial(self._hear, place) for place, kind in OVERFLOW.items()}
        return {**handlers, "parked": self._hear_parked}

    def reopen(self) -> None:
        """Messages may be lost: look into all streams again."""
        self._counted = -1
        self._open_all()
        self.wake()

    def wake(self) -> None:
        """Have the reader look if it can take something: a place may have come free."""
        if self.wanted() is not None:
            self._wake_reader()

    def expect_parked(self, tasks: "Iterable[str]") -> None:
        """Have the reader take jobs that are parked for *tasks*, if they may run here."""
        if runnable := [task for task in tasks if self._may_unpark(task)]:
            self._heard += 1
            self._parked.update(dict.fromkeys(runnable, self._heard))
            self.wake()

    def wanted(self) -> Wanted | None:
        """Return what to read now, None for nothing."""
        for place in self._open:
            room = self._slots() if place == "slot" else self._pools[place].room
            if room > 0:
                return Wanted(place, room)
        if self._parked:
            return Wanted(None, UNPARK_LIMIT, tuple(self._parked), self._heard)
        return None

    def most_to_read(self, fetched: int, count: int) -> int:
        """How many of *count* jobs to read from the lanes.

        If all tasks are for threads, or all for processes, others may have what could only wait
        here. Else some may run on the event loop, and what cannot start here overflows.
        """
        for pool in self._all:
            if len(pool.waiting) > MOST_WAITING:
                return 0
        places = self._places()
        if None in places or len(places) != 1:
            return count
        (place,) = places
        return count if place is None else self._pools[place].backlog_room - fetched

    def note(self, wanted: Wanted, *, asked: int, found: int) -> None:
        """Note how many jobs were *asked* for and *found*: fewer is all there were."""
        if found >= asked:
            return
        if wanted.place is not None:
            self._open.discard(wanted.place)
            return
        for task in wanted.tasks:
            if self._parked.get(task, 0) <= wanted.heard:  # or more were parked since
                self._parked.pop(task, None)

    def _hear(self, place: "Spillway", _: "ControlMessage") -> None:
        if place == "slot" or place in self._places():
            self._open.add(place)
            self.wake()

    def _hear_parked(self, message: "ControlMessage") -> None:
        self.expect_parked(message.get("tasks", "").split())

    def _open_all(self) -> None:
        self._open.add("slot")
        self._open.update(place for place in self._places() if place is not None)

    def _places(self) -> "frozenset[Place | None]":
        """Where the tasks of this worker run."""
        if self._counted != len(self._tasks):
            self._counted = len(self._tasks)
            self._needed = frozenset(task.spec.pool for task in self._tasks.values())
        return self._needed
