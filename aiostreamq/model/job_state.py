"""The states of a job that users see. How it moves between them is in `job_transitions`."""

from collections.abc import Iterable
from enum import StrEnum
from typing import cast

from aiostreamq.errors import UsageError


class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "queued"  #: waits in a lane
    RUNNING = "running"  #: a worker has it
    PARKED = "parked"  #: waits for a worker that knows its task, or until its task is resumed
    DELAYED = "delayed"  #: waits for its time, or for its next attempt
    HELD = "held"  #: waits until the limits of its task have room
    DROPPED = "dropped"  #: ended without a result because the task raised Drop
    EXPIRED = "expired"  #: ended without a run because its `expires` or `deadline` passed
    DONE = "done"  #: ended with a value
    FAILED = "failed"  #: ended with an exception
    TIMED_OUT = "timed_out"  #: ended by its timeout or deadline
    CANCELLED = "cancelled"  #: ended by a request to cancel it
    DEAD = "dead"  #: given up: it is among the dead letters


#: The states of a job that has not ended.
OPEN_STATES = frozenset(
    {JobState.QUEUED, JobState.RUNNING, JobState.PARKED, JobState.DELAYED, JobState.HELD}
)


def states_of(state: object, known: Iterable[JobState] = JobState) -> tuple[JobState, ...]:
    """Return the states that a user gave as one or as several; an error lists *known*.

    Raises:
        UsageError: One of them is not a state.
    """
    several: Iterable[object] = (state,)
    if isinstance(state, Iterable) and not isinstance(state, str):
        several = cast("Iterable[object]", state)
    try:
        return tuple(map(JobState, several))
    except (TypeError, ValueError) as error:
        raise UsageError(f"state={state!r} is unknown: use {', '.join(known)}") from error
