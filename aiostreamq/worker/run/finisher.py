"""The end of a run: what came of it is judged (`_conclude`) and given to the settler (`_finish`).

Neither step talks to Redis.
"""

from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import HoldRequest, RetryRequest
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import encode_done
from aiostreamq.worker.run.backlog import Progress
from aiostreamq.worker.run.conclusion import ended, failed, judged
from aiostreamq.worker.run.run import Run, end_of, log_fields
from aiostreamq.worker.run.run_state import (
    CANCELLED,
    ENDED,
    HANDED_BACK,
    RUNNING,
    SHUT_DOWN,
    TIMED_OUT,
)

if TYPE_CHECKING:
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.worker.protocols import Refills
    from aiostreamq.worker.run.run_services import RunEnvironment
    from aiostreamq.worker.run.slots import Slots

logger = get_logger("aiostreamq.worker")


class Finisher:
    """Decides how runs end, and frees what they held.

    It has an attribute for each service that an end asks: one look-up less for each job.
    """

    def __init__(
        self,
        around: "RunEnvironment",
        running: "dict[EntryRef, Run]",
        dispatcher: "Refills",
        slots: "Slots",
    ) -> None:
        """Prepare to end runs.

        Args:
            around: The services around the dispatcher.
            running: Holds the runs, from their start to their end.
            dispatcher: Starts the next job when one ends.
            slots: The slots that runs lend while they await other jobs.
        """
        self.progress = Progress()  #: wakes its waiters when a job ends
        self.finished = 0  #: how many runs have ended
        self.now = 0.0  #: when the latest job started or ended: the next in line starts then
        self._running = running
        self._dispatcher = dispatcher
        self._slots = slots
        self._settle = around.settler.settle
        self._retry = around.settler.retry
        self._hold_again = around.rerouter.hold_again
        self._clock = around.clock
        self._is_ending = around.is_ending
        self._listeners = around.listeners
        self._logs_jobs = around.logs_jobs

    def conclude_surely(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        """End a run even if concluding fails: otherwise it would hold its slot for ever.

        Args:
            run: The run. Nothing happens if it is over.
            value: The value that its function returned, as JSON; None if there is none.
            error: The exception that it raised.
        """
        try:
            self._conclude(run, value, error)
        except BaseException as fault:
            logger.critical(
                "the end of a job failed, a bug",
                exc_info=fault,
                extra=log_fields(run, self._listeners.worker),
            )
            if not run.state.is_over:
                self._finish(run, *failed(run, error or fault), error or fault)

    def _conclude(self, run: Run, value: bytes | None, error: BaseException | None) -> None:
        if run.state.is_over:
            return  # it was abandoned, and has ended after all
        if error is not None and run.state is RUNNING and self._is_torn_down(run):
            self._dispatcher.is_stopped = True
            run.stop(SHUT_DOWN)
        state, spec, number = run.state, run.spec, run.delivery.number
        if state is SHUT_DOWN and error is not None:
            self._finish(run, None)
            if self._listeners.is_heard:
                from aiostreamq.worker.run.run_reports import report_hand_back

                report_hand_back(self._listeners, run)
        elif state is CANCELLED and value is None:
            self._finish(run, *ended(run, JobState.CANCELLED))
        elif state is TIMED_OUT:
            self._end_badly(run, TimeoutError("the task ran past its timeout"))
        elif error is not None:
            self._end_badly(run, error)
        else:  # it returned, perhaps although it was cancelled
            if self._logs_jobs:
                seconds = clock.monotonic() - run.began
                logger.info(
                    "job done in %.3g s", seconds, extra=log_fields(run, self._listeners.worker)
                )
            assert value is not None
            self._finish(run, encode_done(spec.name_json, number, value))

    def _is_torn_down(self, run: Run) -> bool:
        # asyncio.run cancels all tasks when it ends. That is not a failure of the job.
        return run.task is not None and run.task.cancelling() > 0 and self._is_ending()

    def _end_badly(self, run: Run, error: BaseException) -> None:
        end = judged(run, error, self._clock.now_ms(), self._listeners.worker)
        if isinstance(end, RetryRequest):
            self._finish(run, None)
            self._retry(end)
            self._report_retry(run, end.delay_ms / 1000, error)
        elif isinstance(end, HoldRequest):
            self._finish(run, None)
            self._hold_again(end, run.envelope, run.spec)
            self._report_retry(run, end.after, error)
        else:
            self._finish(run, *end, error)

    def _report_retry(self, run: Run, after: float, error: BaseException) -> None:
        if self._listeners.is_heard:
            from aiostreamq.worker.run.run_reports import report_retry

            report_retry(self._listeners, run, after, clock.monotonic() - run.began, error)

    def _finish(
        self,
        run: Run,
        outcome: bytes | None,
        state: JobState | None = None,
        error: BaseException | None = None,
    ) -> None:
        """End a run. No outcome means that its job has not ended, no state that it returned."""
        run.state = HANDED_BACK if outcome is None and run.state is SHUT_DOWN else ENDED
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
            from aiostreamq.worker.run.run_reports import report_end

            now_ms, ran = self._clock.now_ms(), self.now - run.began
            report_end(self._listeners, run, state, now_ms, ran=ran, error=error)
        dispatcher = self._dispatcher
        if not dispatcher.is_filling and (dispatcher.fresh or dispatcher.backlog):
            dispatcher.fill()
        if self.progress.is_awaited:
            self.progress.wake()
