"""The report of a worker about itself, which comes with its beats."""

import os
import socket
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import orjson

from aiostreamq import clock
from aiostreamq.model.worker_liveness import PROTOCOL
from aiostreamq.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.client.task import Task
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.model.worker_state import WorkerState
    from aiostreamq.store.connection.clock import ServerClock


# How many running jobs are named: the oldest, which are the ones that are looked for.
MOST_JOBS = 100

# How many jobs are named that are here and do not run: usually all.
MOST_HELD = 500

# Beats of an idle worker without a report: three beats make a lease, and a report is kept for two.
MOST_OMITTED = 2


class Running(Protocol):
    """A running job, as the report needs it."""

    delivery: "Delivery"
    spec: "TaskSpec"
    began: float  #: by the monotonic clock


class StatusReport:
    """Made with each beat, so it shows what a worker runs even if its loop is blocked."""

    def __init__(
        self,
        concurrency: int,
        lanes: "Mapping[str, int]",
        tasks: "Mapping[str, Task[..., object]]",
        running: "Mapping[EntryRef, Running]",
        server_clock: "ServerClock",
        state: "Callable[[], WorkerState]",
        stuck: "Callable[[], int]",
        not_running: "Callable[[int], tuple[list[str], int]]",
        limits: "Mapping[str, str]",
    ) -> None:
        """Note what does not change, and the sources of what does."""
        self._tasks = tasks
        self._running = running
        self._clock = server_clock
        self._state = state
        self._stuck = stuck
        self._not_running = not_running
        self._idle_as = ""  # the state of the last report, if nothing ran
        self._omitted = 0  # beats since then
        self._fixed: dict[str, object] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "protocol": PROTOCOL,
            "concurrency": concurrency,
            "lanes": list(lanes),
            "started": server_clock.now_ms(),
        }
        if limits:
            self._fixed["limits"] = dict(limits)

    def encode(self) -> bytes:
        """Return it as JSON, empty if there is nothing new.

        Called from the thread that beats, or from the loop.
        """
        # Before those that run: a job that starts in between is then in both, and not in neither.
        held, held_count = self._not_running(MOST_HELD)
        try:
            runs = list(islice(self._running.values(), MOST_JOBS))
        except RuntimeError:  # a job has started or ended that very moment
            runs = []
        state = self._state().value
        is_idle = not (runs or held_count)
        if is_idle and state == self._idle_as and self._omitted < MOST_OMITTED:
            self._omitted += 1
            return b""
        self._idle_as, self._omitted = state if is_idle else "", 0
        now = clock.monotonic()
        report = {
            **self._fixed,
            "at": self._clock.now_ms(),
            "state": state,
            "tasks": sorted(self._tasks),
            "running": len(self._running),
            "stuck": self._stuck(),
            "jobs": [
                [
                    run.delivery.job_id,
                    run.spec.name,
                    run.delivery.attempt,
                    int((now - run.began) * 1000),
                ]
                for run in runs
            ],
        }
        if held_count:
            report |= {"held": held_count, "held_jobs": held}
        return orjson.dumps(report)
