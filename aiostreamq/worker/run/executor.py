"""Starting jobs: a bounded number at once, in their order, as slots come free."""

from functools import partial
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.model.telemetry import JobDelivered
from aiostreamq.worker.run.admission import Admission
from aiostreamq.worker.run.backlog import Backlog
from aiostreamq.worker.run.deferred import DeferredStarts
from aiostreamq.worker.run.run import Run
from aiostreamq.worker.run.runner import Runner
from aiostreamq.worker.run.slots import Slots

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable, Mapping

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.model.task import Place
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.worker.ports import Outcomes, Reroutes, SuspectGate
    from aiostreamq.worker.run.backlog import Progress
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.pool import Pool
    from aiostreamq.worker.telemetry import WorkerListeners


class Executor:
    """Keeps the deliveries that have not started, and starts the next one when it may.

    `Admission` decides which may start, and `Runner` runs them.
    """

    def __init__(
        self,
        queue: "QueueClient",
        concurrency: int,
        pools: "Mapping[Place, Pool]",
        invoker: "Invoker",
        server_clock: "ServerClock",
        settler: "Outcomes",
        rerouter: "Reroutes",
        suspects: "SuspectGate",
        freed: "Callable[[], None]",
        is_ending: "Callable[[], bool]",
        listeners: "WorkerListeners",
        *,
        logs_jobs: bool = False,
    ) -> None:
        """Prepare to run jobs of *queue*.

        Args:
            queue: Its tasks are looked up as jobs come.
            concurrency: How many jobs may run at once, not counting those that await other jobs.
            pools: The threads and processes of jobs that do not run on the event loop.
            invoker: Calls the functions of jobs.
            server_clock: The clock that expiry times and deadlines refer to.
            settler: Takes the end of each job, and the jobs to be retried.
            rerouter: Takes jobs that may not run here.
            suspects: Decides when jobs may run that were with workers that died, and when nothing
                else may start.
            freed: Called if jobs may start that await others.
            is_ending: Returns whether the worker is about to end, for any reason.
            listeners: Take the events of jobs.
            logs_jobs: Whether to log the start of each job, and its success.
        """
        self.running: dict[EntryRef, Run] = {}  #: by stream and entry
        self.is_filling = False  #: whether jobs are being started at this moment
        self.is_stopped = False  #: whether nothing starts any more
        self.slots = Slots(concurrency, queue.name, self.running, pools, self.refill, freed)
        self.deferred = DeferredStarts(pools, self.slots, partial(rerouter.overflow, "slot"))
        lines = [*(pool.waiting for pool in pools.values()), *self.deferred.lines.values()]
        self.backlog = Backlog(lines)
        self.fresh = self.backlog.fresh  #: deliveries that were not looked at yet
        self._pools = pools
        self._rerouter = rerouter
        self._suspects = suspects
        self._listeners = listeners
        self._admission = Admission(
            queue,
            self.running,
            pools,
            self.slots,
            self.deferred,
            rerouter,
            settler,
            server_clock,
            listeners,
        )
        self._runner = Runner(
            self.running,
            self,
            self.slots,
            invoker,
            settler,
            suspects,
            server_clock,
            is_ending,
            listeners,
            logs_jobs=logs_jobs,
        )

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
        return self._runner.finished

    @property
    def progress(self) -> "Progress":
        """Wakes its waiters when a job ends."""
        return self._runner.progress

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits here."""
        return not (self.running or self.backlog)

    @property
    def is_closed(self) -> bool:
        """Whether nothing may start for now, even if slots are free."""
        return self._suspects.is_closed

    def accept(
        self, deliveries: "Collection[Delivery]", cancelled: "Iterable[Delivery]" = ()
    ) -> None:
        """Take deliveries over. They start in this order, except those that are *cancelled*."""
        self.fresh.extend(deliveries)
        if self._listeners.is_heard:
            for one in deliveries:
                self._listeners.report(JobDelivered, one.job_id, one.attempt, one.number)
        for delivery in cancelled:
            self.cancel(delivery.stream, delivery.entry)
        self.fill()

    def cancel(self, stream: int, entry: bytes) -> None:
        """Cancel a job, whether it runs, waits here, or is still on its way here."""
        run = self.running.get((stream, entry))
        if run is not None:
            self._runner.cancel(run)
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
        self._runner.now = clock.monotonic()
        try:
            if self.backlog.has_looked_at:
                for pool in self._pools.values():
                    self._start_from(pool.waiting, lambda pool=pool: pool.free > 0)
                for line, may_start in self.deferred.startable():
                    self._start_from(line, may_start)
            self._start_from(self.fresh)
            if self.slots.parents:
                self.deferred.flush()
        finally:
            self.is_filling = False
        # Other workers can run them sooner: here they would wait for each other, one by one.
        if self._suspects.is_closed and (suspects := self.backlog.pop_suspects()):
            self._rerouter.requeue(suspects)

    def _start_from(
        self, unstarted: "deque[Delivery]", may_start: "Callable[[], bool] | None" = None
    ) -> None:
        running, slots, suspects, runner = self.running, self.slots, self._suspects, self._runner
        admit, start = self._admission.admit, runner.start
        while unstarted and len(running) < slots.capacity:
            if self.is_stopped or suspects.is_closed or (may_start and not may_start()):
                break
            run = admit(unstarted.popleft(), runner.now)
            if type(run) is Run:
                start(run)
            if running:  # the job may have started just now, and have taken a while until it waited
                runner.now = clock.monotonic()

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
        return await self._runner.cancel_all()

    def abort(self) -> None:
        """Start nothing more and cancel all runs, without waiting: other workers run them again."""
        self.close()
        self._runner.abort()
