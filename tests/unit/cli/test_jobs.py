"""Jobs as `aiostreamq jobs` shows them."""

import pytest

from aiostreamq.cli.format.jobs import HEADS, as_page, as_row
from aiostreamq.model.info import JobInfo
from aiostreamq.model.job_state import JobState

WAITING = {JobState.QUEUED, JobState.DELAYED, JobState.HELD, JobState.PARKED}


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("delivery", [0, 1, 3])
def test_number_of_runs(state: JobState, delivery: int) -> None:
    """A job that waits has run once less than the number of its next delivery."""
    job = JobInfo("1-a", "f", state, None, attempt=2, delivery=delivery)
    runs = str(delivery - 1 if state in WAITING else delivery) if delivery else "-"
    assert as_row(job)[HEADS.index("RUNS")] == runs
    page = dict(line.split(maxsplit=1) for line in as_page(job, "app:queue").splitlines())
    assert page.get("deliveries", "-") == runs
    attempt = "2, the next" if state in WAITING else "2"
    assert page.get("attempt") == (attempt if delivery else None)


def test_ended_jobs_show_their_time() -> None:
    """A job that has ended shows how long it ran in place of the number."""
    job = JobInfo("1-a", "f", JobState.DONE, None, delivery=1, run_seconds=2.0)
    assert as_row(job)[HEADS.index("RUNS")].startswith("ran 2")
