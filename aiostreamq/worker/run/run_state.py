"""The state of a run, and the moves from one to another.

A run that is to stop has its reason as its state, so there is one reason at a time. The worker's
end takes precedence over a timeout and a request: the job is then run again by another worker, and
meets them there. Between a timeout and a request, the first one counts.
"""

from enum import Enum


class RunState(Enum):
    """The state of a run."""

    RUNNING = "running"
    TIMED_OUT = "timed out"  #: it has to stop, as its time is up
    CANCELLED = "cancelled"  #: it has to stop, as was asked
    SHUT_DOWN = "shut down"  #: it has to stop, as the worker ends
    ENDED = "ended"  #: it is over: its outcome is decided, or its retry
    HANDED_BACK = "handed back"  #: it is over, without an outcome: other workers run its job

    def __init__(self, name: str) -> None:
        # A plain attribute: this is read for every job, and by `aio.deadlines`.
        self.is_over = name in {"ended", "handed back"}


# Reading a member off its class takes as long as a call, and these are read for every job.
RUNNING, TIMED_OUT, CANCELLED = RunState.RUNNING, RunState.TIMED_OUT, RunState.CANCELLED
SHUT_DOWN, ENDED, HANDED_BACK = RunState.SHUT_DOWN, RunState.ENDED, RunState.HANDED_BACK

#: All moves: the states that each state can be followed by.
MOVES: dict[RunState, frozenset[RunState]] = {
    RUNNING: frozenset({TIMED_OUT, CANCELLED, SHUT_DOWN, ENDED}),
    TIMED_OUT: frozenset({SHUT_DOWN, ENDED}),
    CANCELLED: frozenset({SHUT_DOWN, ENDED}),
    SHUT_DOWN: frozenset({ENDED, HANDED_BACK}),
    ENDED: frozenset(),
    HANDED_BACK: frozenset(),
}

#: The states of runs that were cut short by the end of the worker.
CUT_SHORT = frozenset({SHUT_DOWN, HANDED_BACK})
