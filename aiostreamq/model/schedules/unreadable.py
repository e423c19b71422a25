"""A schedule that cannot be read.

A module of its own, because the other modules of schedules import cronsim and time zones, which a
worker without schedules does not load.
"""

from typing import NamedTuple


class UnreadableSchedule(NamedTuple):
    """A schedule whose stored definition or state is invalid."""

    name: str
    rev: str  #: revision of its definition; empty if unknown
    why: str  #: the reason, as the end of a sentence
