"""Running jobs, each from its start to the end of its function.

A run goes through small steps: it is started (`start`), its function is called (`_run`), and what
came of that goes to the finisher. None of them talks to Redis.
"""

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.eager import start_task
from aiostreamq.aio.own_tasks import JobTask
from aiostreamq.client.core import core_of
from aiostreamq.client.current_job import JOB
from aiostreamq.client.inherited import INHERITED, Inherited
from aiostreamq.logs import get_logger
from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.worker.run.run import Run, log_fields
from aiostreamq.worker.run.threads import Raised

if TYPE_CHECKING:
    from aiostreamq.aio.deadline_heap import Deadlines
    from aiostreamq.client.hooks import Hooks
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.worker.protocols import SuspectRun
    from aiostreamq.worker.run.finisher import Finisher
    from aiostreamq.worker.run.run_services import RunEnvironment
    from aiostreamq.worker.run.slots import Slots

logger = get_logger("aiostreamq.worker")


class Runner:
    """Runs the jobs that admission lets through.

    It has an attribute for each service that a run asks: one look-up less for each job.
    """

    def __init__(
        self,
        around: "RunEnvironment",
        running: "dict[EntryRef, Run]",
        slots: "Slots",
        finisher: "Finisher",
        deadlines: "Deadlines[Run]",
    ) -> None:
        """Prepare to run jobs.

        Args:
            around: The services around the dispatcher.
            running: Holds the runs, from their start to their end.
            slots: The slots that runs lend while they await other jobs.
            finisher: Ends runs.
            deadlines: Stop runs that take too long.
        """
        self._core = core_of(around.queue)
        self._running = running
        self._slots = slots
        self._invoker = around.invoker
        self._suspects = around.suspects
        self._keys = around.keys
        self._clock = around.clock
        self._listeners = around.listeners
        self._logs_jobs = around.logs_jobs
        self._conclude_surely = finisher.conclude_surely
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
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
        if envelope.deadline is not None or envelope.metadata is not None:
            variables.run(_inherit, envelope, self._core.hooks)  # for the jobs that it enqueues
        if envelope.deadline is not None:
            left = (envelope.deadline - self._clock.now_ms()) / 1000
            self._deadlines.add(run, max(0.0, left))
        if self._listeners.is_heard:
            from aiostreamq.worker.run.run_reports import report_start

            report_start(self._listeners, run)
        name = f"job:{envelope.task}:{delivery.job_id}"
        running = self._run(run)
        run.task = start_task(running, self._loop, name=name, context=variables, kind=JobTask)

    async def _run(self, run: Run) -> None:
        # In the context of this job alone.
        delivery = run.delivery
        worker, slots = self._listeners.worker, self._slots
        JOB.set((run.spec.name, delivery.job_id, delivery.attempt, worker, slots, run.key))
        if self._logs_jobs:
            logger.info("job started", extra=log_fields(run, worker))
        try:
            if run.envelope.metadata is not None:
                await self._keys.free(run)
            if run.suspect is not None:
                outcome = await self._call_suspect(run.suspect, run)
            elif self._core.hooks is None:
                outcome = await self._invoker.call(run, self._begin)
            else:
                outcome = await self._call(run, self._core.hooks)
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
        if run.timeout and not run.state.is_over:
            self._deadlines.add(run, run.timeout)

    async def _call_suspect(self, suspect: "SuspectRun", run: Run) -> bytes:
        async with suspect:
            if timeout := run.timeout:  # counts from here: the wait is not the job's fault
                self._deadlines.add(run, timeout + run.start_time)
            run.began = clock.monotonic()
            return await self._call(run, self._core.hooks)

    async def _call(self, run: Run, hooks: "Hooks | None") -> bytes:
        if hooks is None or not hooks.middleware:
            return await self._invoker.call(run, self._begin)
        # Imported at the first use: most queues have no middleware.
        from aiostreamq.worker.run.middleware_chain import MiddlewareChain

        return await MiddlewareChain(hooks.middleware, run, self._invoker, self._begin).call()


def _inherit(envelope: "Envelope", hooks: "Hooks | None") -> None:
    """Prepare the context of a job for what the job hands on."""
    INHERITED.set(Inherited.of(envelope))
    if hooks is not None and envelope.metadata is not None:
        hooks.restore(envelope.metadata.carried)
