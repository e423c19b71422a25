"""A run has one state, which only moves towards its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.client.context import StopFlag
from aiostreamq.model.delivery import Delivery
from aiostreamq.worker.run.run import Run
from aiostreamq.worker.run.run_state import CUT_SHORT, MOVES, RunState

if TYPE_CHECKING:
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.model.task import TaskSpec

#: The reasons for which a run can be stopped.
REASONS = (RunState.TIMED_OUT, RunState.CANCELLED, RunState.SHUT_DOWN)


def new_run() -> Run:
    """Return a run of a task that has a context."""
    # The state does not depend on the call or its task.
    envelope, spec = cast("Envelope", None), cast("TaskSpec", None)
    run = Run(Delivery(2, b"1-0", "id", 1, b"{}"), envelope, spec, 0.0)
    run.flag = StopFlag()
    return run


def test_every_state_has_its_moves() -> None:
    """A run that is over stays so, any other can end, and no move leads back."""
    assert set(MOVES) == set(RunState)
    order = list(RunState)
    for state, following in MOVES.items():
        assert state.is_over == (not following)
        assert state.is_over or RunState.ENDED in following
        assert all(order.index(one) > order.index(state) for one in following)


def test_only_a_shutdown_cuts_short() -> None:
    """Nothing else leads to a run that is handed back."""
    leads_there = {state for state, following in MOVES.items() if RunState.HANDED_BACK in following}
    assert leads_there == {RunState.SHUT_DOWN}
    assert {RunState.SHUT_DOWN, RunState.HANDED_BACK} == CUT_SHORT


@given(st.lists(st.sampled_from(REASONS), min_size=1))
def test_stops(reasons: list[RunState]) -> None:
    """A shutdown takes precedence; of the others the first counts. The function hears of each."""
    run = new_run()
    answers = [run.stop(why) for why in reasons]
    assert run.flag is not None
    assert run.flag.is_set
    assert answers[0]
    expected = RunState.SHUT_DOWN if RunState.SHUT_DOWN in reasons else reasons[0]
    assert run.state is expected
    assert sum(answers) == len({reasons[0], expected})


@given(st.sampled_from([RunState.ENDED, RunState.HANDED_BACK]), st.sampled_from(REASONS))
def test_stop_after_the_end(end: RunState, why: RunState) -> None:
    """It changes nothing, and is not heard."""
    run = new_run()
    run.state = end
    assert not run.stop(why)
    assert run.state is end
    assert run.flag is not None
    assert not run.flag.is_set
