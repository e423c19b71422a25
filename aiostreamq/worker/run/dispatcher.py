"""Starting jobs: a bounded number at once, in their order, as slots come free."""

from functools import partial
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.worker.run.admission import Admission
from aiostreamq.worker.run.backlog import Backlog
from aiostreamq.worker.run.deferred_parents import DeferredParents
from aiostreamq.worker.run.finisher import Finisher
from aiostreamq.worker.run.run import Run
from aiostreamq.worker.run.runner import Runner
from aiostreamq.worker.run.slots import Slots
from aiostreamq.worker.run.stopper import Stopper

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable

    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.worker.run.backlog import Progress
    from aiostreamq.worker.run.run_services import RunEnvironment
    from aiostreamq.worker.run.shared_slots import SlotPool


class Dispatcher:
    """Keeps the deliveries that have not started, and starts the next one when it may.

    `Admission` decides which may start, `Runner` runs them, `Stopper` cancels them, and `Finisher`
    ends them.
    """

    def __init__(
        self,
        around: "RunEnvironment",
        concurrency: int,
        freed: "Callable[[], None]",
        slot_pool: "SlotPool | None" = None,
    ) -> None:
        """Prepare to run jobs.

        Args:
            around: The services around this one.
            concurrency: How many jobs may run at once, not counting those that await other jobs.
            freed: Called if jobs may start that await others.
            slot_pool: The slots shared with workers of other queues, if there are any.
        """
        self.running: dict[EntryRef, Run] = {}  #: by stream and entry
        self.is_filling = False  #: whether jobs are being started at this moment
        self.is_stopped = False  #: whether nothing starts any more
        pools, running = around.pools, self.running
        describe = Slots if slot_pool is None else slot_pool.new_slots
        self.slots = slots = describe(
            concurrency, around.queue.name, running, pools, self.refill, freed
        )
        self.deferred = DeferredParents(pools, slots, partial(around.rerouter.overflow, "slot"))
        lines = [*(pool.waiting for pool in pools.values()), *self.deferred.lines.values()]
        self.backlog = Backlog(lines)
        self.fresh = self.backlog.fresh  #: deliveries that were not looked at yet
        self._around = around
        self._admission = Admission(around, running, slots, self.deferred)
        self._finisher = Finisher(around, running, self, slots)
        self._stopper = Stopper(around.listeners.worker, running, self._finisher.conclude_surely)
        self._runner = Runner(around, running, slots, self._finisher, self._stopper.deadlines)

    @property
    def concurrency(self) -> int:
        """How many jobs may run now."""
        return self.slots.capacity

    @property
    def fetched(self) -> int:
        """How many deliveries were not looked at yet."""
        return len(self.fresh)

    @property
    def finished(self) -> int:
        """How many runs have ended."""
        return self._finisher.finished

    @property
    def progress(self) -> "Progress":
        """Wakes its waiters when a job ends."""
        return self._finisher.progress

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits here."""
        return not (self.running or self.backlog)

    @property
    def is_closed(self) -> bool:
        """Whether nothing may start for now, even if slots are free."""
        return self._around.suspects.is_closed

    def accept(
        self, deliveries: "Collection[Delivery]", cancelled: "Iterable[Delivery]" = ()
    ) -> None:
        """Take deliveries over. They start in this order, except those that are *cancelled*."""
        self.fresh.extend(deliveries)
        if (listeners := self._around.listeners).is_heard:
            from aiostreamq.model.listener_events import JobDelivered

            for one in deliveries:
                listeners.report(JobDelivered, one.job_id, one.attempt, one.number)
        for delivery in cancelled:
            self.cancel(delivery.stream, delivery.entry)
        self.fill()

    def cancel(self, stream: int, entry: bytes) -> None:
        """Cancel a job, whether it runs, waits here, or is still on its way here."""
        run = self.running.get((stream, entry))
        if run is not None:
            self._stopper.cancel(run)
            return
        now = clock.monotonic()
        self._admission.cancel_marks.put((stream, entry), now)
        # Its end must not wait for a slot.
        if waiting := self.backlog.pop(stream, entry):
            self._admission.admit(waiting, now)

    def refill(self) -> None:
        """Start what may start, as there is more room, and let others look again."""
        self.fill()
        self.progress.wake()

    def fill(self) -> None:
        """Start what may start."""
        # A job that ends while it is started must not start the next from
        # inside its own start, or a thousand of them would nest.
        if self.is_filling:
            return
        self.is_filling = True
        self._finisher.now = clock.monotonic()
        try:
            if self.backlog.has_looked_at:
                for pool in self._around.pools.values():
                    self._start_from(pool.waiting, lambda pool=pool: pool.free > 0)
                for line, may_start in self.deferred.startable():
                    self._start_from(line, may_start)
            self._start_from(self.fresh)
            if self.slots.parents:
                self.deferred.flush()
        finally:
            self.is_filling = False
        # Other workers can run them sooner: here they would wait for each other, one by one.
        if self._around.suspects.is_closed and (suspects := self.backlog.pop_suspects()):
            self._around.rerouter.requeue(suspects)

    def _start_from(
        self, unstarted: "deque[Delivery]", may_start: "Callable[[], bool] | None" = None
    ) -> None:
        running, slots, suspects = self.running, self.slots, self._around.suspects
        admit, start, finisher = self._admission.admit, self._runner.start, self._finisher
        while unstarted and len(running) < slots.capacity:
            if self.is_stopped or suspects.is_closed or (may_start and not may_start()):
                break
            run = admit(unstarted.popleft(), finisher.now)
            if type(run) is Run:
                start(run)
            if running:  # the job may have started just now, and have taken a while until it waited
                finisher.now = clock.monotonic()

    def hand_back_fresh(self) -> None:
        """Hand back what waits for slots and was not looked at yet."""
        waiting = list(self.fresh)
        self.fresh.clear()
        self._around.rerouter.requeue(waiting)

    def close(self) -> "list[Delivery]":
        """Start nothing more; return what has not started."""
        self.is_stopped = True
        return self.backlog.clear()

    async def join(self) -> None:
        """Wait until nothing runs or waits. Cancelling is safe."""
        while not self.is_idle:
            await self.progress.wait()

    async def cancel_all(self) -> "list[Delivery]":
        """Cancel all runs and give them time to clean up; return what was cut short."""
        return await self._stopper.cancel_all()

    def abort(self) -> None:
        """Start nothing more and cancel all runs, without waiting: other workers run them again."""
        self.close()
        self._stopper.abort()
