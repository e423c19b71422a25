"""What a worker tells of itself, to those who look."""

import os
import socket
from importlib.metadata import version
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.client.task import Task
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.model.worker_state import WorkerState
    from aiostreamq.store.connection.clock import ServerClock

# Read with the module, and not in an event loop: it looks for files.
VERSION = version("aiostreamq")

# How many running jobs are named: the oldest, which are the ones that are looked for.
MOST_JOBS = 100

# Beats of an idle worker that tell nothing: three make a lease, and what was told is
# forgotten after two.
MOST_UNSAID = 2


class Running(Protocol):
    """What is told of a job that runs."""

    delivery: "Delivery"
    spec: "TaskSpec"
    began: float  #: by the monotonic clock


class StatusReport:
    """Told with each beat, so it shows even what a worker runs whose loop is blocked."""

    def __init__(
        self,
        concurrency: int,
        lanes: "Mapping[str, int]",
        tasks: "Mapping[str, Task[..., object]]",
        running: "Mapping[EntryRef, Running]",
        clock: "ServerClock",
        state: "Callable[[], WorkerState]",
        stuck: "Callable[[], int]",
    ) -> None:
        """Note what does not change, and where to look for what does."""
        self._tasks = tasks
        self._running = running
        self._clock = clock
        self._state = state
        self._stuck = stuck
        self._idle_as = ""  # the state that was told last, with nothing running
        self._unsaid = 0  # beats since
        self._fixed: dict[str, object] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": VERSION,
            "concurrency": concurrency,
            "lanes": list(lanes),
            "started": clock.now_ms(),
        }

    def encode(self) -> bytes:
        """Return it as JSON, empty where there is nothing new to say.

        Called from the thread that beats, or from the loop.
        """
        try:
            runs = list(islice(self._running.values(), MOST_JOBS))
        except RuntimeError:  # a job has started or ended that very moment
            runs = []
        state = self._state().value
        if not runs and state == self._idle_as and self._unsaid < MOST_UNSAID:
            self._unsaid += 1
            return b""
        self._idle_as, self._unsaid = "" if runs else state, 0
        now = monotonic()
        told = {
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
        return orjson.dumps(told)
