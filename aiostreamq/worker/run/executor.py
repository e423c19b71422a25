"""Running jobs: a bounded number at once, each to an outcome.

A delivery goes through small steps: it is decoded and started (`_start`), its
function is called (`_run`), what came of it is judged (`_conclude`), and that is
handed to the settler (`_finish`). None of them talks to Redis.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from aiostreamq.aio.deadlines import Deadlines
from aiostreamq.aio.eager import start_task
from aiostreamq.aio.tasks import JobTask, leave_behind
from aiostreamq.client.context import DEADLINE
from aiostreamq.client.current_job import JOB
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import Delivery, RetryRequest
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.outcome import JobState, encode_done
from aiostreamq.signals import is_ctrl_c
from aiostreamq.worker.run.backlog import Backlog, CancelMarks, Progress
from aiostreamq.worker.run.conclusion import ended, failed, judged
from aiostreamq.worker.run.deferred import DeferredStarts
from aiostreamq.worker.run.run import WHY_UNRUN, Run, Stop, end_of, end_unrun, state_unrun, told
from aiostreamq.worker.run.slots import Slots
from aiostreamq.worker.run.threads import Raised

if TYPE_CHECKING:
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.task import Task
    from aiostreamq.model.executor_kind import Place
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.worker.ports import Ends, Gate, Turn, Ways
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.pool import Pool

logger = get_logger("aiostreamq.worker")

# Seconds a cancelled job may take to clean up before it is left to itself.
CLEANUP_TIME = 5.0


class Executor:
    """Starts what it is given as slots come free."""

    def __init__(
        self,
        queue: "QueueClient",
        concurrency: int,
        pools: "Mapping[Place, Pool]",
        calls: "Invoker",
        clock: "ServerClock",
        settler: "Ends",
        exits: "Ways",
        suspects: "Gate",
        moved: "Callable[[], None]",
        is_ending: "Callable[[], bool]",
        *,
        logs_jobs: bool = False,
    ) -> None:
        """Prepare to run jobs of *queue*.

        Args:
            queue: Its tasks are looked up as jobs come.
            concurrency: How many may run at once, those aside that wait for others.
            pools: The places of jobs that do not run on the event loop.
            calls: Invoker their functions.
            clock: By which jobs expire.
            settler: Takes the end of each job, and what is to run again.
            exits: Takes what is not to be run here.
            suspects: Says when those may run that were with workers when they died,
                and when nothing else may start.
            moved: Called if jobs may start that await others.
            is_ending: Says whether the worker is about to end, in whatever way.
            logs_jobs: Whether to log that a job starts, and that it is done.
        """
        self.running: dict[tuple[int, bytes], Run] = {}  #: by stream and entry
        self.slots = Slots(concurrency, queue.name, self.running, pools, self.refill, moved)
        self.aside = DeferredStarts(pools, self.slots, partial(exits.overflow, "slot"))
        self.backlog = Backlog([*(p.waiting for p in pools.values()), *self.aside.lines.values()])
        self._fresh = self.backlog.fresh
        self._pools = pools
        self._last_lane = 1 + len(queue.lanes)  # place of its stream
        self.progress = Progress()  #: told when a job ends
        self.finished = 0  #: how many have ended since the start
        self._tasks: Mapping[str, Task[..., object]] = queue.tasks
        self._calls = calls
        self._clock = clock
        self._settle = settler.settle
        self._retry = settler.retry
        self._exits = exits
        self._paused = exits.paused
        self._suspects = suspects
        self._is_ending = is_ending
        self._logs_jobs = logs_jobs
        self._cancelled = CancelMarks()
        self._now = 0.0  # when the latest job began or ended: the next in line begins then
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines[Run](self._expire)
        # Each job starts from this, not from what the job before it has set.
        self._context = copy_context()
        self._is_filling = False
        self._is_stopped = False

    def accept(self, deliveries: Iterable[Delivery], cancelled: Iterable[Delivery] = ()) -> None:
        """Take deliveries over; they start in this order, but for those that are *cancelled*."""
        self.backlog.fresh.extend(deliveries)
        for delivery in cancelled:
            self.cancel(delivery.stream, delivery.entry)
        self.fill()

    @property
    def concurrency(self) -> int:
        """How many may run now."""
        return self.slots.capacity

    @property
    def fetched(self) -> int:
        """How many were delivered that nobody has looked at."""
        return len(self.backlog.fresh)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits here."""
        return not (self.running or self.backlog)

    def stop(self) -> list[Delivery]:
        """Start nothing more; returns what had not been started."""
        self._is_stopped = True
        return self.backlog.clear()

    async def wait_idle(self) -> None:
        """Wait until nothing runs or waits. Cancelling is safe."""
        while not self.is_idle:
            await self.progress.wait()

    async def cancel_all(self, cleanup_time: float = CLEANUP_TIME) -> list[Delivery]:
        """Cancel what runs and give it time to clean up; returns what was cut short."""
        runs = list(self.running.values())
        for run in runs:
            self._cancel(run, Stop.SHUTDOWN)
        tasks = [run.task for run in runs if run.task is not None]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=cleanup_time)
            for task in left:
                leave_behind(task)
        self._deadlines.close()
        return [run.delivery for run in runs if run.stop is Stop.SHUTDOWN]

    def drop(self) -> None:
        """Start nothing more and cancel what runs, without waiting: others run it again."""
        self.stop()
        self._deadlines.close()
        for run in list(self.running.values()):
            if run.stop is not Stop.SHUTDOWN:
                self._cancel(run, Stop.SHUTDOWN)

    def cancel(self, stream: int, entry: bytes) -> None:
        """End a job as cancelled, be it running, not yet started, or still on its way here."""
        run = self.running.get((stream, entry))
        if run is None:
            self._cancelled.put((stream, entry), self._loop.time())
            # Whoever awaits it shall not wait for a slot.
            if waiting := self.backlog.pop(stream, entry):
                self._start(waiting)
        elif run.stop is None:
            logger.info("job is cancelled, as was asked", extra=told(run))
            self._stop(run, Stop.REQUEST)

    def fill(self) -> None:
        """Start what may start."""
        # A job that ends while it is started must not start the next from
        # inside its own start, or a thousand of them would nest.
        if self._is_filling:
            return
        self._is_filling = True
        self._now = monotonic()
        try:
            if self.backlog.has_looked_at:
                for pool in self._pools.values():
                    self._start_from(pool.waiting, lambda pool=pool: pool.free > 0)
                for line, may_start in self.aside.startable():
                    self._start_from(line, may_start)
            self._start_from(self.backlog.fresh)
            if self.slots.parents:
                self.aside.flush()
        finally:
            self._is_filling = False
        # Left to other workers: here they would wait for each other, one by one.
        if self._suspects.is_closed and (suspects := self.backlog.pop_suspects()):
            self._exits.leave(suspects)

    def _start_from(
        self, unstarted: deque[Delivery], may_start: Callable[[], bool] | None = None
    ) -> None:
        running, slots, suspects = self.running, self.slots, self._suspects
        while unstarted and len(running) < slots.capacity:
            if self._is_stopped or suspects.is_closed or (may_start and not may_start()):
                break
            self._start(unstarted.popleft())
            if running:  # it may be among those, and have taken a while until it waited
                self._now = monotonic()

    def refill(self) -> None:
        """Start what may start, as there is more room, and let others look again."""
        self.fill()
        self.progress.tell()

    @property
    def is_closed(self) -> bool:
        """Whether nothing may start for now, however many slots are free."""
        return self._suspects.is_closed

    def _start(self, delivery: Delivery) -> None:
        key = delivery.stream, delivery.entry
        if key in self.running:
            return  # somebody has deleted the group, and Redis sent everything again
        try:
            envelope = decode_envelope(delivery.envelope)
        except Malformed as error:
            self._exits.refuse(delivery, str(error))
            return
        task = self._tasks.get(envelope.task)
        if task is None:
            self._exits.park(delivery, envelope.task)
            return
        # What was returned, or has overflowed, comes to everybody.
        is_of_lane = 1 < delivery.stream <= self._last_lane
        if not is_of_lane and self._exits.pass_on(delivery, task.spec.options.lane):
            return
        run = Run(delivery, envelope, task.spec, self._now)
        if self._paused and self._exits.hold(delivery, task.spec):
            return
        is_limited = envelope.expires is not None or envelope.deadline is not None
        if (is_limited or self._cancelled) and (
            state := state_unrun(run, self._clock.now_ms(), is_cancelled=self._cancelled.take(key))
        ):
            self._settle(end_unrun(run, state))
            logger.info("job %s", WHY_UNRUN[state], extra=told(run))
            return
        if (task.spec.pool is not None or self.slots.parents) and not self._has_place(run):
            return
        self.running[key] = run
        if delivery.deaths:
            run.turn = self._suspects.admit(delivery)
        else:
            self._limit(run)
        name = f"job:{envelope.task}:{delivery.job_id}"
        variables = self._context.copy()
        if envelope.deadline is not None:
            variables.run(DEADLINE.set, envelope.deadline)  # for the jobs that it enqueues
            left = (envelope.deadline - self._clock.now_ms()) / 1000
            self._deadlines.add(run, max(0.0, left))
        running = self._run(run, key)
        run.task = start_task(running, self._loop, name=name, context=variables, kind=JobTask)

    def _has_place(self, run: Run) -> bool:
        """Whether a job may start now; else it waits for its place."""
        place = run.spec.pool
        run.pool = None if place is None else self._pools[place]
        if self.slots.parents and self.slots.is_kept_from(run.spec.name, run.pool):
            self.aside.put(run.delivery, place)
            return False
        return run.pool is None or run.pool.take(run.delivery)

    def _limit(self, run: Run) -> None:
        if timeout := run.timeout:
            self._deadlines.add(run, timeout + run.start_time)

    async def _run(self, run: Run, key: tuple[int, bytes]) -> None:
        # In the context of this job alone.
        delivery = run.delivery
        JOB.set((run.spec.name, delivery.job_id, delivery.attempt, self.slots, key))
        if self._logs_jobs:
            logger.info("job started", extra=told(run))
        try:
            if run.turn is None:
                outcome = await self._calls.call(run, self._begin)
            else:
                outcome = await self._call_in(run.turn, run)
        except Raised as raised:  # in a thread, where no Ctrl-C is
            self._conclude_surely(run, None, raised.error)
        except BaseException as error:  # whatever a task raises is its outcome
            if is_ctrl_c(error):
                raise  # it is for the process, not for the job it happened to meet
            self._conclude_surely(run, None, error)
        else:
            self._conclude_surely(run, outcome, None)

    def _conclude_surely(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        """Be done with a run, whatever goes wrong: else it would hold its slot for ever."""
        try:
            self._conclude(run, value, error)
        except BaseException as fault:  # what it is does not matter here
            logger.critical("the end of a job failed, a bug", exc_info=fault, extra=told(run))
            if not run.is_over:
                self._finish(run, *failed(run, error or fault))

    def _begin(self, run: Run) -> None:
        run.began = monotonic()  # from now on its timeout runs
        if run.timeout and not run.is_over:
            self._deadlines.add(run, run.timeout)

    async def _call_in(self, turn: "Turn", run: Run) -> bytes:
        async with turn:
            self._limit(run)  # from here on: waiting for its turn is not its fault
            run.began = monotonic()
            return await self._calls.call(run, self._begin)

    def _conclude(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        if run.is_over:
            return  # it was abandoned, and has come back after all
        if error is not None and run.stop is None and self._is_torn_down(run):
            self._is_stopped = True
            run.stop = Stop.SHUTDOWN
        spec, number = run.spec, run.delivery.number
        if run.stop is Stop.SHUTDOWN and error is not None:
            self._finish(run, None)
        elif run.stop is Stop.REQUEST and value is None:
            self._finish(run, *ended(run, JobState.CANCELLED))
        elif run.stop is Stop.TIMEOUT:
            self._end_badly(run, TimeoutError("the task ran past its timeout"))
        elif error is not None:
            self._end_badly(run, error)
        else:
            run.stop = None  # it got to its end although it was asked to stop
            if self._logs_jobs:
                logger.info("job done in %.3g s", monotonic() - run.began, extra=told(run))
            assert value is not None
            self._finish(run, encode_done(spec.name_json, number, value))

    def _is_torn_down(self, run: Run) -> bool:
        # asyncio.run cancels all tasks when it ends. That is no failure of the job.
        return run.task is not None and run.task.cancelling() > 0 and self._is_ending()

    def _end_badly(self, run: Run, error: BaseException) -> None:
        end = judged(run, error, self._clock.now_ms())
        if isinstance(end, RetryRequest):
            self._finish(run, None)
            self._retry(end)
        else:
            self._finish(run, *end)

    def _finish(self, run: Run, outcome: bytes | None, state: JobState | None = None) -> None:
        """Be done with a run: without an outcome it is not over, without a state it returned."""
        run.is_over = True
        delivery = run.delivery
        key = delivery.stream, delivery.entry
        del self.running[key]
        self.finished += 1
        if outcome is not None:  # first: whatever goes wrong then, the job has ended
            self._now = now = monotonic()
            self._settle(end_of(run, outcome, state, now))
        if run.turn is not None:
            run.turn.end()  # it may never have begun
        if self.slots.parents:
            self.slots.forget(key, run)
        if run.pool is not None:
            run.pool.end(run)
        if not self._is_filling and (self._fresh or self.backlog):
            self.fill()
        if self.progress.is_awaited:
            self.progress.tell()

    def _expire(self, run: Run) -> None:
        if run.stop is Stop.SHUTDOWN:
            return  # it is cleaning up already, and will be handed back
        if run.stop is None:
            logger.info("job ran past its timeout and is cancelled", extra=told(run))
            self._stop(run, Stop.TIMEOUT)
        elif self._loop.time() >= run.give_up_at:
            logger.warning("job does not heed its cancellation and is left", extra=told(run))
            self._conclude_surely(run, None, None)
            if run.task is not None:
                leave_behind(run.task)

    def _stop(self, run: Run, stop: Stop) -> None:
        """Cancel a run, and leave it to itself when its time to clean up is over."""
        run.give_up_at = self._loop.time() + CLEANUP_TIME
        self._deadlines.add(run, CLEANUP_TIME)
        self._cancel(run, stop)

    def _cancel(self, run: Run, stop: Stop) -> None:
        run.stop = stop
        if run.flag is not None:
            run.flag.is_set = True
        if run.task is not None:
            # Cancelled before its first step it never gets to `_run`, which would conclude.
            end = asyncio.CancelledError()
            run.task.add_done_callback(lambda _: self._conclude_surely(run, None, end))
            try:
                run.task.end()
            except BaseException:  # it waits for a future of the user's, which raised
                logger.exception("job could not be cancelled", extra=told(run))
