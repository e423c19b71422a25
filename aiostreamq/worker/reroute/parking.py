"""Jobs of tasks that are unknown here, or paused: parked, and later unparked.

In a rolling deploy old workers meet jobs that only new ones can run. Such a job neither fails nor
travels between workers: it waits until a worker that knows its task starts, or hears that it was
parked. The reader of that worker unparks it, and gets it in the same step, see `Overflow`: a worker
without the task cannot be sent it once more. The looks here are for jobs that were parked before,
or by workers of earlier releases, which send no message.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

from aiostreamq.aio.batching import GroupCommit
from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.store.deliveries import SETTLE_LIMIT
from aiostreamq.worker.refused_batches import RefusedBatches

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.store.parking import ParkedJobs
    from aiostreamq.worker.listener_events import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds between looks for jobs that others have parked since this worker started.
INTERVAL = 10.0


class Parking:
    """Parks jobs that this worker cannot run, and unparks those that it can."""

    def __init__(
        self,
        parked: "ParkedJobs",
        tasks: Collection[str],
        is_paused: "Callable[[str], bool]",
        accepted: "Callable[[], None]",
        found: "Callable[[Collection[str]], None]",
        found_held: "Callable[[], Awaitable[None]]",
        listeners: "WorkerListeners",
    ) -> None:
        """Prepare.

        Args:
            parked: The parked jobs of the queue.
            tasks: The names known here, read again each time.
            is_paused: Returns whether a task is paused: its jobs stay parked.
            accepted: Called when Redis has accepted all that it had refused to set aside.
            found: Has jobs of these tasks unparked by the reader, if any are parked.
            found_held: Has jobs admitted that are held by their limits, if any are.
            listeners: Take the jobs that are parked.
        """
        self._parked = parked
        self._tasks = tasks
        self._is_paused = is_paused
        self._found = found
        self._found_held = found_held
        self._listeners = listeners
        self._wakeup = Wakeup()
        self._refused = RefusedBatches[tuple["Delivery", str]](
            "jobs to be parked", self._park, accepted
        )
        self._commit = GroupCommit[tuple["Delivery", str]](self._refused.send, SETTLE_LIMIT)
        self._logged: set[str] = set()
        #: jobs that are not parked yet
        self.unparked: set[EntryRef] = set()

    def park(self, delivery: "Delivery", task: str) -> None:
        """Park a job, in one batch with all others of this moment."""
        if task not in self._tasks and task not in self._logged:
            self._logged.add(task)
            logger.warning(
                "task %r is unknown here: its jobs wait for a worker that knows it", task
            )
        self.unparked.add((delivery.stream, delivery.entry))
        self._commit.add((delivery, task))
        if self._listeners.is_heard:
            from aiostreamq.model.listener_events import JobParked

            self._listeners.report(JobParked, task, delivery.job_id)

    def wake(self) -> None:
        """Look now: a task may have been resumed."""
        self._wakeup.wake()

    @property
    def refused(self) -> int:
        """How many jobs wait because Redis has refused to park them."""
        return self._refused.refused

    def may_run(self, task: str) -> bool:
        """Whether a task is known here and is not paused."""
        return task in self._tasks and not self._is_paused(task)

    async def join(self) -> None:
        """Wait until all are parked, or refused once more. Cancelling is safe."""
        await self._commit.join()
        await self._refused.try_again()  # the reason of a refusal was logged

    def close(self) -> None:
        """Stop retrying refused jobs: they are recovered from this worker."""
        self._refused.close()

    async def run(self) -> None:
        """Look for parked jobs of tasks that are known here, until cancelled."""
        while True:
            try:
                are_parked, are_held = await self._parked.are_any_set_aside()
                if are_parked:
                    self._found(self._tasks)
                if are_held:
                    await self._found_held()
            except AioStreamQError:
                logger.exception("parked jobs could not be looked for, retrying")
            await self._wakeup.wait(INTERVAL)

    async def _park(self, batch: "list[tuple[Delivery, str]]") -> None:
        await self._parked.park(batch)
        self.unparked.difference_update((d.stream, d.entry) for d, _ in batch)
        # Its task may have been resumed while it was on its way: the others were unparked then.
        if any(self.may_run(task) for _, task in batch):
            self.wake()
