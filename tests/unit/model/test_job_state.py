"""States of jobs, as users give and see them."""

import pytest

from aiostreamq import UsageError
from aiostreamq.model.job_state import OPEN_STATES, JobState, states_of
from aiostreamq.model.job_transitions import TRANSITIONS, Stage


def test_users_see_two_stages_as_others() -> None:
    """A job that is being cancelled still runs; one whose entry is left has ended."""
    assert Stage.CANCELLING.state is JobState.RUNNING
    assert Stage.CANCELLED_IN_LANE.state is JobState.CANCELLED
    assert Stage.UNKNOWN.state is None
    same = set(Stage) - {Stage.CANCELLING, Stage.CANCELLED_IN_LANE, Stage.UNKNOWN}
    assert {stage.value: stage.state for stage in same} == {
        state.value: state for state in JobState
    }


def test_no_transition_is_listed_twice() -> None:
    """Each row says something."""
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)
    assert all(before is not after for before, _, after in TRANSITIONS)


def test_one_state_or_several() -> None:
    """Both are given by name or as JobState."""
    assert states_of("queued") == (JobState.QUEUED,)
    assert states_of(["queued", JobState.DEAD]) == (JobState.QUEUED, JobState.DEAD)


@pytest.mark.parametrize("state", ["gone", 5, ["queued", None]])
def test_unknown_state_is_refused(state: object) -> None:
    """The error lists the states that can be given."""
    with pytest.raises(UsageError, match=r"^state=.* is unknown: use queued, running$"):
        states_of(state, (JobState.QUEUED, JobState.RUNNING))
    assert JobState.QUEUED in OPEN_STATES
