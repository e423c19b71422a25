"""Running jobs: each from its start to its outcome.

A run goes through small steps: it is started (`start`), its function is called (`_run`), what came
of it is judged (`_conclude`), and that is handed to the settler (`_finish`). None of them talks to
Redis.
"""

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.deadlines import Deadlines
from aiostreamq.aio.eager import start_task
from aiostreamq.aio.tasks import JobTask, leave_behind
from aiostreamq.client.current_job import JOB
from aiostreamq.client.deadline import DEADLINE
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import EntryRef, RetryRequest
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import encode_done
from aiostreamq.signals import is_ctrl_c
from aiostreamq.worker.run.backlog import Progress
from aiostreamq.worker.run.conclusion import ended, failed, judged
from aiostreamq.worker.run.run import Run, Stop, end_of, log_fields
from aiostreamq.worker.run.run_reports import (
    report_end,
    report_hand_back,
    report_retry,
    report_start,
)
from aiostreamq.worker.run.threads import Raised

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.worker.ports import Outcomes, Refills, SuspectGate, SuspectRun
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.slots import Slots
    from aiostreamq.worker.telemetry import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds that a cancelled job may take to clean up before the worker stops waiting for it.
CLEANUP_TIME = 5.0


class Runner:
    """Runs the jobs that admission lets through.

    It has more attributes than most classes, as each is one look-up on the way of every job.
    """

    def __init__(
        self,
        running: dict[EntryRef, Run],
        executor: "Refills",
        slots: "Slots",
        invoker: "Invoker",
        settler: "Outcomes",
        suspects: "SuspectGate",
        server_clock: "ServerClock",
        is_ending: "Callable[[], bool]",
        listeners: "WorkerListeners",
        *,
        logs_jobs: bool,
    ) -> None:
        """Prepare to run jobs.

        Args:
            running: Holds the runs, from their start to their end.
            executor: Starts the next job when one ends.
            slots: The slots that runs lend while they await other jobs.
            invoker: Calls the functions.
            settler: Takes the end of each job, and the jobs to be retried.
            suspects: Decides when a job may run that was with workers that died.
            server_clock: The clock that deadlines refer to.
            is_ending: Returns whether the worker is about to end, for any reason.
            listeners: Take the events of runs.
            logs_jobs: Whether to log the start of each job, and its success.
        """
        self.progress = Progress()  #: wakes its waiters when a job ends
        self.finished = 0  #: how many runs have ended
        self.now = 0.0  #: when the latest job started or ended: the next in line starts then
        self._running = running
        self._executor = executor
        self._slots = slots
        self._invoker = invoker
        self._settle = settler.settle
        self._retry = settler.retry
        self._suspects = suspects
        self._clock = server_clock
        self._is_ending = is_ending
        self._listeners = listeners
        self._logs_jobs = logs_jobs
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines[Run](self._expire)
        # Each job starts with a copy of this, so it does not see what the job before it has set.
        self._context = copy_context()

    def start(self, run: Run) -> None:
        """Start a job that may run now."""
        envelope, delivery = run.envelope, run.delivery
        self._running[run.key] = run
        if delivery.deaths:
            run.suspect = self._suspects.admit(delivery)
        elif timeout := run.timeout:
            self._deadlines.add(run, timeout + run.start_time)
        variables = self._context.copy()
        if envelope.deadline is not None:
            variables.run(DEADLINE.set, envelope.deadline)  # for the jobs that it enqueues
            left = (envelope.deadline - self._clock.now_ms()) / 1000
            self._deadlines.add(run, max(0.0, left))
        if self._listeners.is_heard:
            report_start(self._listeners, run)
        name = f"job:{envelope.task}:{delivery.job_id}"
        running = self._run(run)
        run.task = start_task(running, self._loop, name=name, context=variables, kind=JobTask)

    def cancel(self, run: Run) -> None:
        """Cancel a job, as was requested. It has `CLEANUP_TIME` to clean up."""
        if run.stop is None:
            logger.info("job is cancelled, as was asked", extra=log_fields(run))
            self._stop(run, Stop.REQUEST)

    async def cancel_all(self, cleanup_time: float = CLEANUP_TIME) -> "list[Delivery]":
        """Cancel all runs and give them time to clean up; return what was cut short."""
        runs = list(self._running.values())
        for run in runs:
            self._cancel(run, Stop.SHUTDOWN)
        tasks = [run.task for run in runs if run.task is not None]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=cleanup_time)
            for task in left:
                leave_behind(task)
        self._deadlines.close()
        return [run.delivery for run in runs if run.stop is Stop.SHUTDOWN]

    def abort(self) -> None:
        """Cancel all runs without waiting: other workers will run those jobs again."""
        self._deadlines.close()
        for run in list(self._running.values()):
            if run.stop is not Stop.SHUTDOWN:
                self._cancel(run, Stop.SHUTDOWN)

    async def _run(self, run: Run) -> None:
        # In the context of this job alone.
        delivery = run.delivery
        JOB.set((run.spec.name, delivery.job_id, delivery.attempt, self._slots, run.key))
        if self._logs_jobs:
            logger.info("job started", extra=log_fields(run))
        try:
            if run.suspect is None:
                outcome = await self._invoker.call(run, self._begin)
            else:
                outcome = await self._call_suspect(run.suspect, run)
        except Raised as raised:  # in a thread, which no Ctrl-C reaches
            self._conclude_surely(run, None, raised.error)
        except BaseException as error:  # whatever a task raises is its outcome
            if is_ctrl_c(error):
                raise  # it is meant for the process, not for the job that happened to run
            self._conclude_surely(run, None, error)
        else:
            self._conclude_surely(run, outcome, None)

    def _begin(self, run: Run) -> None:
        run.began = clock.monotonic()  # its timeout counts from now on
        if run.timeout and not run.is_over:
            self._deadlines.add(run, run.timeout)

    async def _call_suspect(self, suspect: "SuspectRun", run: Run) -> bytes:
        async with suspect:
            if timeout := run.timeout:  # counts from here: the wait is not the job's fault
                self._deadlines.add(run, timeout + run.start_time)
            run.began = clock.monotonic()
            return await self._invoker.call(run, self._begin)

    def _conclude_surely(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        """End a run even if concluding fails: otherwise it would hold its slot for ever."""
        try:
            self._conclude(run, value, error)
        except BaseException as fault:
            logger.critical("the end of a job failed, a bug", exc_info=fault, extra=log_fields(run))
            if not run.is_over:
                self._finish(run, *failed(run, error or fault), error or fault)

    def _conclude(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        if run.is_over:
            return  # it was abandoned, and has ended after all
        if error is not None and run.stop is None and self._is_torn_down(run):
            self._executor.is_stopped = True
            run.stop = Stop.SHUTDOWN
        spec, number = run.spec, run.delivery.number
        if run.stop is Stop.SHUTDOWN and error is not None:
            self._finish(run, None)
            if self._listeners.is_heard:
                report_hand_back(self._listeners, run)
        elif run.stop is Stop.REQUEST and value is None:
            self._finish(run, *ended(run, JobState.CANCELLED))
        elif run.stop is Stop.TIMEOUT:
            self._end_badly(run, TimeoutError("the task ran past its timeout"))
        elif error is not None:
            self._end_badly(run, error)
        else:
            run.stop = None  # it returned although it was cancelled
            if self._logs_jobs:
                seconds = clock.monotonic() - run.began
                logger.info("job done in %.3g s", seconds, extra=log_fields(run))
            assert value is not None
            self._finish(run, encode_done(spec.name_json, number, value))

    def _is_torn_down(self, run: Run) -> bool:
        # asyncio.run cancels all tasks when it ends. That is not a failure of the job.
        return run.task is not None and run.task.cancelling() > 0 and self._is_ending()

    def _end_badly(self, run: Run, error: BaseException) -> None:
        end = judged(run, error, self._clock.now_ms())
        if isinstance(end, RetryRequest):
            self._finish(run, None)
            self._retry(end)
            if self._listeners.is_heard:
                report_retry(self._listeners, run, end, clock.monotonic() - run.began, error)
        else:
            self._finish(run, *end, error)

    def _finish(
        self,
        run: Run,
        outcome: bytes | None,
        state: JobState | None = None,
        error: BaseException | None = None,
    ) -> None:
        """End a run. No outcome means that its job has not ended, no state that it returned."""
        run.is_over = True
        del self._running[run.key]
        self.finished += 1
        if outcome is not None:  # first: whatever goes wrong after this, the job has ended
            self.now = now = clock.monotonic()
            self._settle(end_of(run, outcome, state, now))
        if run.suspect is not None:
            run.suspect.close()  # it may never have begun
        if self._slots.parents:
            self._slots.forget(run.key, run)
        if run.pool is not None:
            run.pool.release(run.thread, run.spec.name, run.delivery.job_id)
        if outcome is not None and self._listeners.is_heard:
            now_ms, ran = self._clock.now_ms(), self.now - run.began
            report_end(self._listeners, run, state, now_ms, ran=ran, error=error)
        executor = self._executor
        if not executor.is_filling and (executor.fresh or executor.backlog):
            executor.fill()
        if self.progress.is_awaited:
            self.progress.wake()

    def _expire(self, run: Run) -> None:
        if run.stop is Stop.SHUTDOWN:
            return  # it is cleaning up already, and will be handed back
        if run.stop is None:
            logger.info("job ran past its timeout and is cancelled", extra=log_fields(run))
            self._stop(run, Stop.TIMEOUT)
        elif clock.of_loop(self._loop) >= run.give_up_at:
            logger.warning("job ignores its cancellation and is abandoned", extra=log_fields(run))
            self._conclude_surely(run, None, None)
            if run.task is not None:
                leave_behind(run.task)

    def _stop(self, run: Run, stop: Stop) -> None:
        """Cancel a run, and abandon it if it has not ended after its time to clean up."""
        run.give_up_at = clock.of_loop(self._loop) + CLEANUP_TIME
        self._deadlines.add(run, CLEANUP_TIME)
        self._cancel(run, stop)

    def _cancel(self, run: Run, stop: Stop) -> None:
        run.stop = stop
        if run.flag is not None:
            run.flag.is_set = True
        if run.task is not None:
            # A task that is cancelled before its first step never gets to `_run`, and so does not
            # conclude.
            end = asyncio.CancelledError()
            run.task.add_done_callback(lambda _: self._conclude_surely(run, None, end))
            try:
                run.task.end()
            except BaseException:  # it waits for a future of the user's, which raised
                logger.exception("job could not be cancelled", extra=log_fields(run))
