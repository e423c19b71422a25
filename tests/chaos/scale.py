"""How large a scenario is: short in every run of the tests, long in `make chaos`."""

import os
from typing import TypeVar

T = TypeVar("T")

#: Read here and nowhere else.
IS_LONG = os.environ.get("AIOSTREAMQ_CHAOS", "short") == "long"

#: What the reports call it.
FORM = "long" if IS_LONG else "short"

#: Seconds that one scenario may take at most, unless it says more itself.
TIME_LIMIT = 900 if IS_LONG else 300


def sized(*, short: T, long: T) -> T:
    """Return the size that holds in this run."""
    return long if IS_LONG else short
