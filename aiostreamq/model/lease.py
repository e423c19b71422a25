"""When a worker is taken for dead: its beat has not changed for a whole lease.

The lease is measured on the watcher's own steady clock, and only while it has
watched: neither a step of some clock nor an outage of Redis, during which nobody
can show that it lives, makes anyone look dead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# What recover_worker.lua puts in front while it is not through with a worker.
DEAD = "dead"


@dataclass(slots=True)
class _Sighting:
    beat: str
    silence: float = 0.0  # seconds of watching without a change


@dataclass(slots=True)
class LeaseWatch:
    """What one watcher has seen of all others."""

    interval: float  #: seconds between two looks, about; a longer gap counts as this long
    _seen: dict[str, _Sighting] = field(default_factory=dict[str, _Sighting])
    _looked: float | None = None

    def forget(self) -> None:
        """Begin anew: there was a time in which nobody could have shown that it lives."""
        self._seen.clear()
        self._looked = None

    def look(self, beats: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """Take in the beats of all workers at *now* (any steady clock).

        Returns the names, and the beats they stopped at, of those who are dead.
        """
        gap = 0.0 if self._looked is None else min(now - self._looked, 2 * self.interval)
        self._looked = now
        self._seen = {name: self._sight(name, beat, gap) for name, beat in beats.items()}
        return [
            (name, sighting.beat)
            for name, sighting in self._seen.items()
            if sighting.silence >= lease_of(sighting.beat)
        ]

    def soonest(self) -> float:
        """Seconds from the last look until the next lease runs out, if nobody beats again."""
        left = [lease_of(seen.beat) - seen.silence for seen in self._seen.values()]
        return min((seconds for seconds in left if seconds > 0), default=self.interval)

    def _sight(self, name: str, beat: str, gap: float) -> _Sighting:
        known = self._seen.get(name)
        if known is None or known.beat != beat:
            return _Sighting(beat)
        known.silence += gap
        return known


def lease_of(beat: str) -> float:
    """The seconds a worker with this beat may be silent: it says so itself.

    For ever where it cannot be read: that is no worker of ours.
    """
    if is_dead(beat):
        return 0.0
    told = beat.split()  # newer workers may say more
    return int(told[1]) / 1000 if len(told) > 1 and told[1].isdecimal() else math.inf


def is_dead(beat: str) -> bool:
    """Whether somebody has begun to recover what a worker with this beat had.

    >>> is_dead("dead high low"), is_dead("7 15000 high low")
    (True, False)
    """
    return beat.partition(" ")[0] == DEAD


def lanes_of(beat: str) -> list[str]:
    """The lanes that a worker with this beat serves: it says so itself.

    >>> lanes_of("7 15000 high low"), lanes_of("dead high low"), lanes_of("7 15000")
    (['high', 'low'], ['high', 'low'], [])
    """
    return beat.split()[1 if is_dead(beat) else 2 :]
