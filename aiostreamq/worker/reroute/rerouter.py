"""The ways out of a worker for deliveries that are not run here."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq.aio.own_tasks import spawn
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import EntryRef
from aiostreamq.model.keys import OVERFLOW, RETURNED
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.deliveries import Deliveries

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable, Sequence
    from typing import Any

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.keys import Spillway
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.protocols import Halts, Shelf
    from aiostreamq.worker.reroute.backlogs import Backlogs

logger = get_logger("aiostreamq.worker")


class Rerouter:
    """Takes what must not be run here, and moves it to where it belongs."""

    def __init__(
        self,
        store: "QueueStore",
        worker: str,
        lanes: "Collection[str]",
        pauses: "Halts",
        parking: "Shelf",
        backlogs: "Backlogs",
    ) -> None:
        """Prepare.

        Args:
            store: The queue.
            worker: The worker that has the deliveries.
            lanes: The lanes that it serves.
            pauses: The paused tasks and lanes.
            parking: Takes jobs whose tasks are unknown here, or paused.
            backlogs: Takes jobs that wait for their limits.
        """
        self.take_if_limited = backlogs.take_if_limited
        self.hold_again = backlogs.hold_again
        self._backlogs = backlogs
        self.paused = pauses.paused  #: empty while there are no pauses
        self._store = store
        self._deliveries = Deliveries(store)
        self._worker = worker
        self._lanes = lanes
        self._pauses = pauses
        self._parking = parking
        # The tasks that move deliveries, and those deliveries.
        self._moving = dict[asyncio.Task[int], set[EntryRef]]()

    @property
    def entries(self) -> set[EntryRef]:
        """The entries that have not left yet."""
        waiting = self._parking.unparked | self._backlogs.unheld
        return waiting.union(*self._moving.values())

    def park(self, delivery: "Delivery", task: str) -> None:
        """Set a job aside whose task is not known here."""
        self._parking.park(delivery, task)

    def take_if_paused(self, delivery: "Delivery", spec: "TaskSpec") -> bool:
        """Set a job aside if it is paused, and keep the order of jobs if possible."""
        if self._pauses.has_task(spec.name):
            self._parking.park(delivery, spec.name)
            return True
        lane = self._store.lane_at(delivery.stream) or spec.options.lane
        # A job that was admitted may be of another lane: one that was not paused then.
        if self._pauses.has_lane(lane) and not self._store.is_admitted(delivery.stream):
            self.requeue([delivery], lane)
            return True
        return False

    def take_if_unserved(self, delivery: "Delivery", lane: str) -> bool:
        """Leave a job to others if its lane is not served here."""
        if lane in self._lanes or self._store.is_admitted(delivery.stream):
            return False  # what is admitted here is of a lane that is served here
        self.requeue([delivery], lane)
        return True

    def requeue(self, deliveries: "Sequence[Delivery]", lane: str = RETURNED) -> None:
        """Leave jobs to other workers, who find them in *lane*."""
        entries = [(delivery.stream, delivery.entry) for delivery in deliveries]
        self._move(entries, self._deliveries.requeue(deliveries, lane))

    def overflow(self, place: "Spillway", deliveries: "Sequence[Delivery]") -> None:
        """Leave jobs to workers that have a thread, a process, or a slot free."""
        self.requeue(deliveries, OVERFLOW[place])

    def refuse(self, delivery: "Delivery", reason: str) -> None:
        """Move an entry that is not a job to the dead letters."""
        log_fields = {"job_id": delivery.job_id, "worker": self._worker}
        logger.error("a stream entry is not a job: %s", reason, extra=log_fields)
        entries = [(delivery.stream, delivery.entry)]
        self._move(
            entries,
            self._deliveries.dead_letter_unreadable(
                entries, encode_unreadable(reason), self._worker
            ),
        )

    async def join(self) -> None:
        """Wait until all has left that is on its way. Cancelling is safe."""
        await self._parking.join()
        await self._backlogs.join()
        if self._moving:
            await asyncio.wait(self._moving)

    def _move(self, entries: "Iterable[EntryRef]", moving: "Coroutine[Any, Any, int]") -> None:
        task = spawn(moving, "aiostreamq:moving")
        self._moving[task] = set(entries)
        task.add_done_callback(self._moved)

    def _moved(self, task: "asyncio.Task[int]") -> None:
        # A delivery that Redis refused to move stays this worker's: its next look for
        # deliveries that never arrived finds it.
        del self._moving[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("could not move a job away, trying again later: %s", error)
