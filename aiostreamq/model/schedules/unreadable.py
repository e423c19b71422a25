"""What stands for a schedule that cannot be read.

Apart from the schedules, which bring cronsim and time zones along: workers without any know this.
"""

from typing import NamedTuple


class UnreadableSchedule(NamedTuple):
    """A schedule of which what is kept makes no sense."""

    name: str
    rev: str  #: which definition it is; empty where not even that is known
    why: str  #: as the end of a sentence
