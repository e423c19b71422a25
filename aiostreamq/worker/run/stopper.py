"""Stopping runs from outside: their time is up, it was asked, or the worker ends."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.deadline_heap import Deadlines
from aiostreamq.aio.own_tasks import leave_behind
from aiostreamq.logs import get_logger
from aiostreamq.worker.run.run import Run, log_fields
from aiostreamq.worker.run.run_state import (
    CANCELLED,
    CUT_SHORT,
    RUNNING,
    SHUT_DOWN,
    TIMED_OUT,
    RunState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.model.delivery import Delivery, EntryRef

logger = get_logger("aiostreamq.worker")

# Seconds that a cancelled job may take to clean up before the worker stops waiting for it.
CLEANUP_TIME = 5.0

#: Why a run is stopped while the worker works on, for its log line.
WHY_STOPPED = {
    TIMED_OUT: "ran past its timeout and is cancelled",
    CANCELLED: "is cancelled, as was asked",
}


class Stopper:
    """Cancels runs, and abandons those that ignore it."""

    def __init__(
        self,
        worker: str,
        running: "Mapping[EntryRef, Run]",
        conclude: "Callable[[Run, bytes | None, BaseException | None], None]",
    ) -> None:
        """Prepare to stop runs.

        Args:
            worker: The name of the worker, for log lines.
            running: The runs.
            conclude: Ends a run that does not get to its own end. Does not raise.
        """
        self.deadlines = Deadlines[Run](self._expire)  #: when runs must have ended
        self._worker = worker
        self._running = running
        self._conclude = conclude
        self._loop = asyncio.get_running_loop()

    def cancel(self, run: Run) -> None:
        """Cancel a job, as was requested. It has `CLEANUP_TIME` to clean up."""
        self._stop(run, CANCELLED)

    async def cancel_all(self, cleanup_time: float = CLEANUP_TIME) -> "list[Delivery]":
        """Cancel all runs and give them time to clean up; return what was cut short."""
        runs = list(self._running.values())
        for run in runs:
            self._stop(run, SHUT_DOWN)
        tasks = [run.task for run in runs if run.task is not None]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=cleanup_time)
            for task in left:
                leave_behind(task)
        self.deadlines.close()
        return [run.delivery for run in runs if run.state in CUT_SHORT]

    def abort(self) -> None:
        """Cancel all runs without waiting: other workers will run those jobs again."""
        self.deadlines.close()
        for run in list(self._running.values()):
            self._stop(run, SHUT_DOWN)

    def _expire(self, run: Run) -> None:
        """Stop a run as its time is up, or abandon it if its time to clean up is."""
        if run.state is RUNNING:
            self._stop(run, TIMED_OUT)
        elif run.state is not SHUT_DOWN and clock.of_loop(self._loop) >= run.give_up_at:
            logger.warning(
                "job ignores its cancellation and is abandoned", extra=log_fields(run, self._worker)
            )
            self._conclude(run, None, None)
            if run.task is not None:
                leave_behind(run.task)

    def _stop(self, run: Run, why: RunState) -> None:
        """Cancel a run, unless it is over or stops for a reason that takes precedence."""
        if not run.stop(why):
            return
        if why in WHY_STOPPED:  # at the end of the worker, `cancel_all` waits for all at once
            logger.info("job %s", WHY_STOPPED[why], extra=log_fields(run, self._worker))
            run.give_up_at = clock.of_loop(self._loop) + CLEANUP_TIME
            self.deadlines.add(run, CLEANUP_TIME)
        if run.task is not None:
            # A task that is cancelled before its first step never gets to `Runner._run`, and so
            # does not conclude.
            end = asyncio.CancelledError()
            run.task.add_done_callback(lambda _: self._conclude(run, None, end))
            try:
                run.task.end()
            except BaseException:  # it waits for a future of the user's, which raised
                logger.exception("job could not be cancelled", extra=log_fields(run, self._worker))
