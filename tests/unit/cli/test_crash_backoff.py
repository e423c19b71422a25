"""Worker processes that crash are restarted after growing pauses, or given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.cli.process.crash_backoff import CRASHES, PAUSES, SOON, CrashBackoff
from aiostreamq.worker.settings import LEASE, MAX_WORKER_DEATHS


def test_crash_loop() -> None:
    """Pauses grow, and the fifth crash in a row is the end."""
    crashes = CrashBackoff()
    pauses = [crashes.pause_after(0.0, draw=1.0) for _ in range(CRASHES)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, None]


def test_crashes_far_apart() -> None:
    """A process that had worked for a while starts again, however often it dies."""
    crashes = CrashBackoff()
    assert {crashes.pause_after(SOON, draw=1.0) for _ in range(100)} == {0.5}


def test_one_that_worked_in_between() -> None:
    """It makes the count begin again."""
    crashes = CrashBackoff()
    for _ in range(CRASHES - 1):
        assert crashes.pause_after(0.0, draw=1.0) is not None
    assert crashes.pause_after(SOON, draw=1.0) == 0.5
    assert crashes.in_a_row == 1


@given(st.lists(st.floats(0, SOON * 2), max_size=20), st.floats(0, 1))
def test_any_life(lives: list[float], draw: float) -> None:
    """It is given up exactly when the last ones all crashed soon; pauses stay under their cap."""
    crashes = CrashBackoff()
    for number, worked in enumerate(lives, 1):
        pause = crashes.pause_after(worked, draw)
        last = lives[max(0, number - CRASHES + 1) : number]
        is_loop = number >= CRASHES and all(life < SOON for life in last)
        assert (pause is None) == is_loop
        if pause is None:
            break
        assert 0 <= pause <= PAUSES.pause(CRASHES, 1.0)


@pytest.mark.parametrize("lease", [LEASE, 1.0])
def test_job_that_kills_its_process(lease: float) -> None:
    """One such job does not look like a crash loop, with a long lease or a short one."""
    crashes = CrashBackoff()
    assert all(crashes.pause_after(lease, 1.0) is not None for _ in range(MAX_WORKER_DEATHS))
