"""The failure detector: a worker is dead if its beat has not changed for a whole lease.

Each watcher measures the lease on its own monotonic clock, and only while it watches. So a clock
that is set, or an outage of Redis during which no worker can renew its lease, makes no worker
look dead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# recover_worker.lua puts it before the lanes of a worker until all its jobs are recovered.
DEAD = "dead"


@dataclass(slots=True)
class _Sighting:
    beat: str
    silence: float = 0.0  # seconds of watching without a change


@dataclass(slots=True)
class LeaseWatch:
    """One watcher's observations of all other workers."""

    interval: float  #: approximate seconds between two looks; a gap counts as twice this at most
    _seen: dict[str, _Sighting] = field(default_factory=dict[str, _Sighting])
    _looked: float | None = None

    def forget(self) -> None:
        """Start over, after a time in which no worker could have renewed its lease."""
        self._seen.clear()
        self._looked = None

    def look(self, beats: Mapping[str, str], now: float) -> list[tuple[str, str]]:
        """Observe the beats of all workers at *now* (seconds of any monotonic clock).

        Returns the name and the last beat of each dead worker.
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
        """Return the seconds from the last look until a lease can expire."""
        left = [lease_of(seen.beat) - seen.silence for seen in self._seen.values()]
        return min((seconds for seconds in left if seconds > 0), default=self.interval)

    def _sight(self, name: str, beat: str, gap: float) -> _Sighting:
        known = self._seen.get(name)
        if known is None or known.beat != beat:
            return _Sighting(beat)
        known.silence += gap
        return known


def lease_of(beat: str) -> float:
    """Return the lease in seconds that a beat contains.

    It is infinite if the beat cannot be read: then it was not written by a worker.
    """
    if is_dead(beat):
        return 0.0
    fields = beat.split()  # newer workers may add some
    return int(fields[1]) / 1000 if len(fields) > 1 and fields[1].isdecimal() else math.inf


def is_dead(beat: str) -> bool:
    """Whether the recovery of a worker with this beat has begun.

    >>> is_dead("dead high low"), is_dead("7 15000 high low")
    (True, False)
    """
    return beat.partition(" ")[0] == DEAD


def lanes_of(beat: str) -> list[str]:
    """Return the lanes that a beat contains.

    >>> lanes_of("7 15000 high low"), lanes_of("dead high low"), lanes_of("7 15000")
    (['high', 'low'], ['high', 'low'], [])
    """
    return beat.split()[1 if is_dead(beat) else 2 :]
