"""The steps by which a job moves from one state to another.

`JobState` is what users see. `Stage` is finer: a cancelled job may still have to leave its worker
or its lane. TRANSITIONS lists all changes of stage, each with the script that makes it; the page
docs/explanation/job-states.md is made from it, and the model test of the scripts checks it. No
program loads it.
"""

from enum import StrEnum
from typing import NamedTuple

from aiostreamq.model.job_state import OPEN_STATES, JobState


class Stage(StrEnum):
    """The state of a job as Redis holds it."""

    UNKNOWN = "unknown"  #: there is no such job: its id is free
    DELAYED = "delayed"  #: its hash holds the envelope, `delayed` holds its id
    HELD = "held"  #: its hash holds the envelope, the backlog of its limits holds its id
    QUEUED = "queued"  #: its entry is in the stream of a lane, and no worker has it
    RUNNING = "running"  #: its entry is pending: a worker has it, running or prefetched
    PARKED = "parked"  #: its entry is in the stream of parked jobs of its task
    CANCELLING = "cancelling"  #: a worker has it, and has been asked to stop it
    #: it has ended as cancelled, but its entry is still in a lane, or with a worker
    CANCELLED_IN_LANE = "cancelled_in_lane"
    DROPPED = "dropped"
    EXPIRED = "expired"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def state(self) -> JobState | None:
        """The state that users see; None if there is no such job.

        Users see DONE for an end whose outcome is not kept.
        """
        match self:
            case Stage.UNKNOWN:
                return None
            case Stage.CANCELLING:
                return JobState.RUNNING
            case Stage.CANCELLED_IN_LANE:
                return JobState.CANCELLED
            case _:
                return JobState(self.value)


class Transition(NamedTuple):
    """One change of a job's stage."""

    before: Stage
    step: str  #: a script of store/lua; or XREADGROUP, or "expiry": Redis drops an expired key
    after: Stage


#: The stages of a job that has ended, and whose entry is gone.
ENDED = tuple(Stage(state.value) for state in JobState if state not in OPEN_STATES)

# The ends that an outcome of a worker brings. Only a job that is being cancelled ends as cancelled.
_OUTCOMES = tuple(stage for stage in ENDED if stage is not Stage.CANCELLED)


def _rows(before: Stage, step: str, *after: Stage) -> tuple[Transition, ...]:
    return tuple(Transition(before, step, stage) for stage in after)


#: All changes of stage. A step that leaves the stage as it is has no row.
TRANSITIONS = (
    # A job arrives. An id that is taken changes nothing.
    *_rows(Stage.UNKNOWN, "enqueue", Stage.QUEUED),
    *_rows(Stage.UNKNOWN, "enqueue_delayed", Stage.DELAYED),
    # dropped: another job holds its key
    *_rows(Stage.UNKNOWN, "enqueue_unique", Stage.QUEUED, Stage.DELAYED, Stage.DROPPED),
    *_rows(Stage.UNKNOWN, "fire_schedules", Stage.QUEUED, Stage.DELAYED),  # delayed: jitter
    *_rows(Stage.UNKNOWN, "enqueue_held", Stage.HELD),
    # It waits.
    *_rows(Stage.DELAYED, "promote", Stage.QUEUED),
    *_rows(Stage.PARKED, "unpark", Stage.QUEUED, Stage.RUNNING),
    *_rows(Stage.QUEUED, "XREADGROUP", Stage.RUNNING),  # if the worker reads one lane
    *_rows(Stage.QUEUED, "read_lanes", Stage.RUNNING),
    *_rows(Stage.QUEUED, "read_many_lanes", Stage.RUNNING),
    *_rows(Stage.HELD, "admit", Stage.RUNNING),
    # A worker ends it.
    *_rows(Stage.RUNNING, "settle", *_OUTCOMES),
    # It leaves its worker, and will run again.
    *_rows(Stage.RUNNING, "retry", Stage.QUEUED, Stage.DELAYED),
    *_rows(Stage.RUNNING, "requeue", Stage.QUEUED),
    *_rows(Stage.RUNNING, "park", Stage.PARKED),
    *_rows(Stage.RUNNING, "hold", Stage.HELD),  # its limits have not let it pass
    *_rows(Stage.RUNNING, "requeue_deleted", Stage.DELAYED),
    *_rows(Stage.RUNNING, "recover_worker", Stage.QUEUED, Stage.DEAD),  # dead: too many deaths
    *_rows(Stage.RUNNING, "dead_letter_unreadable", Stage.DEAD),
    # It is cancelled.
    *_rows(Stage.DELAYED, "cancel", Stage.CANCELLED),
    *_rows(Stage.PARKED, "cancel", Stage.CANCELLED),
    *_rows(Stage.HELD, "cancel", Stage.CANCELLED),
    *_rows(Stage.QUEUED, "cancel", Stage.CANCELLED_IN_LANE, Stage.CANCELLED),
    *_rows(Stage.QUEUED, "cancel_lane", Stage.CANCELLED_IN_LANE),
    *_rows(Stage.RUNNING, "cancel", Stage.CANCELLING),
    *_rows(Stage.RUNNING, "cancel_lane", Stage.CANCELLING),
    *_rows(Stage.CANCELLING, "settle", Stage.CANCELLED, *_OUTCOMES),  # it may end before
    *_rows(Stage.CANCELLING, "retry", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "requeue", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "park", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "hold", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "requeue_deleted", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "recover_worker", Stage.CANCELLED),
    *_rows(Stage.CANCELLING, "dead_letter_unreadable", Stage.CANCELLED),
    # Another job takes its key.
    *_rows(Stage.DELAYED, "enqueue_unique", Stage.CANCELLED),
    *_rows(Stage.PARKED, "enqueue_unique", Stage.CANCELLED),
    *_rows(Stage.HELD, "enqueue_unique", Stage.CANCELLED),
    *_rows(Stage.QUEUED, "enqueue_unique", Stage.CANCELLED_IN_LANE, Stage.CANCELLED),
    *_rows(Stage.RUNNING, "enqueue_unique", Stage.CANCELLING),
    # The entry of a cancelled job goes.
    *_rows(Stage.CANCELLED_IN_LANE, "skip_cancelled", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "settle", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "retry", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "requeue", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "park", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "hold", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "recover_worker", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "dead_letter_unreadable", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "cancel", Stage.CANCELLED),  # its entry was deleted
    *_rows(Stage.CANCELLED_IN_LANE, "cancel_lane", Stage.CANCELLED),
    *_rows(Stage.CANCELLED_IN_LANE, "enqueue_unique", Stage.CANCELLED),
    # A dead letter is replayed. The outcome may have expired before it.
    *_rows(Stage.FAILED, "replay_dead_letters", Stage.QUEUED),
    *_rows(Stage.TIMED_OUT, "replay_dead_letters", Stage.QUEUED),
    *_rows(Stage.DEAD, "replay_dead_letters", Stage.QUEUED),
    *_rows(Stage.CANCELLED, "replay_dead_letters", Stage.QUEUED),  # it could not be read
    *_rows(Stage.UNKNOWN, "replay_dead_letters", Stage.QUEUED),
    # It is forgotten.
    *(Transition(stage, "expiry", Stage.UNKNOWN) for stage in ENDED),
)
