"""Jobs of tasks that are not known here: set aside, and let go by whoever knows them.

In a rolling deploy old workers meet jobs that only new ones can run. Such a job is
neither failed nor sent round in circles: it waits until a worker that knows its task
starts, or next looks.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.aio.batching import GroupCommit
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.grammar import counted
from aiostreamq.model.telemetry import JobParked
from aiostreamq.store.deliveries import SETTLE_LIMIT
from aiostreamq.worker.retry_buffer import RetryBuffer

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.store.parking import ParkedJobs
    from aiostreamq.worker.telemetry import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds between looks for what others have parked since this worker started.
INTERVAL = 10.0


class Parking:
    """Sets aside what this worker can not run, and takes up what it can."""

    def __init__(
        self,
        schedule: "ParkedJobs",
        tasks: Collection[str],
        is_paused: "Callable[[str], bool]",
        accepted: "Callable[[], None]",
        listeners: "WorkerListeners",
    ) -> None:
        """Prepare.

        Args:
            schedule: Of the queue.
            tasks: The names known here, looked at again each time.
            is_paused: Says of which of them the jobs are left where they are.
            accepted: Called when Redis has accepted all that it had refused to set aside.
            listeners: Take the jobs that are parked.
        """
        self._schedule = schedule
        self._tasks = tasks
        self._is_paused = is_paused
        self._listeners = listeners
        self._woken = asyncio.Event()
        self._refused = RetryBuffer[tuple["Delivery", str]](
            "jobs to be parked", self._park, accepted
        )
        self._commit = GroupCommit[tuple["Delivery", str]](self._refused.send, SETTLE_LIMIT)
        self._told: set[str] = set()
        #: on their way to be set aside, or refused there
        self.unparked: set[EntryRef] = set()

    def park(self, delivery: "Delivery", task: str) -> None:
        """Set a job aside together with all others of the moment."""
        if task not in self._tasks and task not in self._told:
            self._told.add(task)
            logger.warning(
                "no task %r is known here: its jobs wait for a worker that knows it", task
            )
        self.unparked.add((delivery.stream, delivery.entry))
        self._commit.add((delivery, task))
        if self._listeners.is_heard:
            self._listeners.report(JobParked, task, delivery.job_id)

    def wake(self) -> None:
        """Look now: a task may not be paused any more."""
        self._woken.set()

    @property
    def refused(self) -> int:
        """How many jobs Redis has refused to set aside so far."""
        return self._refused.refused

    async def join(self) -> None:
        """Wait until all is set aside, or refused once more. Cancelling is safe."""
        await self._commit.join()
        await self._refused.try_again()  # why some is refused has been logged

    def close(self) -> None:
        """Try no more to set aside what is refused: it is recovered from this worker."""
        self._refused.close()

    async def run(self) -> None:
        """Take up what is parked and known here, until cancelled."""
        while True:
            self._woken.clear()
            try:
                tasks = [task for task in self._tasks if self._may_run(task)]
                released = await self._schedule.unpark(tasks) if tasks else 0
                if released:
                    logger.info("released %s, parked until now", counted(released, "job"))
            except AioStreamQError:
                logger.exception("parked jobs could not be looked at, trying on")
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._woken.wait()

    async def _park(self, batch: "list[tuple[Delivery, str]]") -> None:
        await self._schedule.park(batch)
        self.unparked.difference_update((d.stream, d.entry) for d, _ in batch)
        # Its task may have been resumed while it was on its way: all others were let go then.
        if any(self._may_run(task) for _, task in batch):
            self.wake()

    def _may_run(self, task: str) -> bool:
        return task in self._tasks and not self._is_paused(task)
