"""The worker's reports to its supervisor."""

from typing import TYPE_CHECKING

import anyio

from aiostreamq.cli.process.recycling import RecyclingLimits, resident_bytes
from aiostreamq.cli.process.supervisor_link import SupervisorLink
from aiostreamq.model.worker_state import WorkerState

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from aiostreamq.worker.group import WorkerGroup
    from aiostreamq.worker.worker import Worker

# Seconds between two looks at a worker. Each costs it a few microseconds.
LOOK_AGAIN = 0.1


class StateReporter:
    """Reports a worker's state, and when another process should take its place."""

    def __init__(
        self,
        worker: "Worker | WorkerGroup",
        limits: RecyclingLimits,
        link: SupervisorLink,
        banner: str,
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._link = link
        self._banner = banner
        self._reported = WorkerState.STARTING
        self._has_reported_ready = False
        self._has_asked = False  # to be replaced

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """Look again and again, until cancelled."""
        task_status.started()
        while True:
            self.look()
            await anyio.sleep(LOOK_AGAIN)

    def report_ready(self) -> None:
        """Report that the worker has begun to take jobs, the first time this is called."""
        if not self._has_reported_ready:
            self._has_reported_ready = True
            self._link.send("ready", self._banner)
            self._reported = WorkerState.READY

    def look(self) -> None:
        """Report each change since the last look."""
        state = self._worker.state
        if state is WorkerState.READY:
            self.report_ready()
        # A worker that takes a new name is STARTING for a moment, which is not worth a report.
        if state not in {self._reported, WorkerState.STARTING}:
            self._reported = state
            self._link.send("state", state)
        why = self._limits.reason_to_end(self._worker.finished, resident_bytes())
        if state is WorkerState.STUCK:
            why = "all its threads are stuck in jobs that were given up"
        if why is not None and not self._has_asked:
            self._has_asked = True  # it works until the replacement is ready
            self._link.send("replace", why)
