"""What a worker is doing, as far as it can tell without asking anybody."""

from enum import StrEnum
from typing import Protocol


class WorkerState(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"  #: it has not begun to take jobs, or begins anew under another name
    READY = "ready"  #: it takes jobs
    CUT_OFF = "cut_off"  #: Redis has not answered it for a whole lease; it goes on trying
    STUCK = "stuck"  #: all its threads are stuck in jobs that were given up: it runs no `def` task
    BLOCKED = "blocked"  #: its event loop has not turned for a whole lease; told by a supervisor
    DRAINING = "draining"  #: it takes no more jobs and sees the running ones to their end
    STOPPED = "stopped"  #: it has ended, or could not start


class HasState(Protocol):
    """A worker, for whoever reports on one."""

    @property
    def state(self) -> WorkerState:
        """What it is doing."""
        ...
