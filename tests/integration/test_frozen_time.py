"""Time that freezegun and time-machine freeze, each case in a process of its own."""

import subprocess
import sys

import pytest

from tests.support.nightly import mostly_nightly
from tests.support.processes import ROOT

CASES = [
    (library, case)
    for library in ("freezegun", "time-machine")
    for case in ("inside", "around", "around_ticking", "around_a_clock")
]


@pytest.mark.parametrize(
    ("library", "case"),
    mostly_nightly(
        [*CASES, ("freezegun", "without_real_asyncio")],
        but=[
            ("freezegun", "inside"),
            ("time-machine", "around"),
            ("freezegun", "around_ticking"),
            ("time-machine", "around_a_clock"),
            ("freezegun", "without_real_asyncio"),
        ],
    ),
)
def test_frozen(library: str, case: str) -> None:
    """Jobs run under a frozen time, as docs/how-to/test-your-code.md describes."""
    program = [sys.executable, "-W", "error", "-m", "tests.support.frozen_time_app", library, case]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
