"""The page about Redis's errors, beside the classifier."""

import re
from pathlib import Path

from aiostreamq.store.connection import redis_errors

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "redis-errors.md"


def test_every_known_error_has_a_row() -> None:
    """The table has a row for each error that the classifier knows, and no other."""
    first_cells = re.findall(r"^\| (`.+?) \|", PAGE.read_text(), flags=re.MULTILINE)
    told = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    known = {*redis_errors.REMEDIES, *redis_errors.ADVICE, "NOPERM"}
    known |= {
        redis_errors.ON_A_REPLICA,
        redis_errors.TOO_MANY_CLIENTS,
        *redis_errors.NO_RIGHT_IN_SCRIPT,
    }
    known |= {
        *redis_errors.SLOT_MOVES_IN_SCRIPT,
        redis_errors.DOWN_IN_SCRIPT,
        redis_errors.STREAM_DELETED,
    }
    assert told == known
