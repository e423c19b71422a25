"""The page about Redis's errors, beside the classifier."""

import re
from pathlib import Path

from aiostreamq.store import failures

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "redis-errors.md"


def test_every_error_that_is_known_is_told() -> None:
    """The table has a row for each error that the classifier knows, and no other."""
    first_cells = re.findall(r"^\| (`.+?) \|", PAGE.read_text(), flags=re.MULTILINE)
    told = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    known = {*failures.REMEDIES, *failures.ADVICE, "NOPERM"}
    known |= {failures.ON_A_REPLICA, failures.TOO_MANY_CLIENTS, *failures.NO_RIGHT_IN_SCRIPT}
    known |= {*failures.SLOT_MOVES_IN_SCRIPT, failures.DOWN_IN_SCRIPT}
    assert told == known
