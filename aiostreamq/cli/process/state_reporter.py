"""Reporting how a worker does to its supervisor."""

from typing import TYPE_CHECKING

import anyio

from aiostreamq.cli.process.recycling import RecyclingLimits, resident_bytes
from aiostreamq.cli.process.supervisor_link import SupervisorLink
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

# Seconds between two looks at how much a worker has done, which cost it some
# microseconds each.
LOOK_AGAIN = 0.1


class StateReporter:
    """Tells the supervisor how a worker does."""

    def __init__(
        self, worker: Worker, limits: RecyclingLimits, lifeline: SupervisorLink, banner: str
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._lifeline = lifeline
        self._banner = banner
        self._told = WorkerState.STARTING
        self._has_told_ready = False
        self._has_asked = False

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """Look again and again; ends by being cancelled."""
        task_status.started()
        while True:
            self.look()
            await anyio.sleep(LOOK_AGAIN)

    def tell_ready(self) -> None:
        """Tell that the worker has begun to take jobs, unless that has been args."""
        if not self._has_told_ready:
            self._has_told_ready = True
            self._lifeline.tell("ready", self._banner)
            self._told = WorkerState.READY

    def look(self) -> None:
        """Tell what has changed since the last look."""
        state = self._worker.state
        if state is WorkerState.READY:
            self.tell_ready()
        # It is ready again in a moment, under another name, or has never been.
        if state not in {self._told, WorkerState.STARTING}:
            self._told = state
            self._lifeline.tell("state", state)
        why = self._limits.reason_to_end(self._worker.finished, resident_bytes())
        if state is WorkerState.STUCK:
            why = "all its threads are stuck in jobs that were given up"
        if why is not None and not self._has_asked:
            self._has_asked = True  # the work goes on until the replacement is ready
            self._lifeline.tell("replace", why)
