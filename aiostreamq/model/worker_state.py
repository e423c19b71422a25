"""The state of a worker, as the worker itself knows it.

A module of its own, because the store, the worker and the command line share it.
"""

from enum import StrEnum
from typing import Protocol


class WorkerState(StrEnum):
    """The state of a worker."""

    STARTING = "starting"  #: does not take jobs yet, or restarts under another name
    READY = "ready"  #: takes jobs
    CUT_OFF = "cut_off"  #: Redis has not answered for a whole lease; it keeps trying
    STUCK = "stuck"  #: all its threads are stuck in jobs that were given up: no `def` task can run
    BLOCKED = "blocked"  #: its event loop has not run for a whole lease; reported by a supervisor
    DRAINING = "draining"  #: takes no more jobs, and waits for the running ones
    STOPPED = "stopped"  #: has ended, or could not start


class HasState(Protocol):
    """A worker, for those that report its state."""

    @property
    def state(self) -> WorkerState:
        """Its current state."""
        ...
