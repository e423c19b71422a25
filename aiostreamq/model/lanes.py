"""Whose turn it is, where several lanes wait for the same slots."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.options import checked_lane


class Lanes(NamedTuple):
    """The lanes of a queue."""

    weights: Mapping[str, int]  #: by their names
    strict_priority: bool  #: whether one is served only when all weightier ones are empty


def checked_lanes(lanes: Iterable[str] | Mapping[str, int], *, strict_priority: bool) -> Lanes:
    """Return the lanes of a queue; each weighs 1 where only names are given.

    Raises:
        UsageError: A name or a weight cannot be meant, or there is none.
    """
    if isinstance(lanes, Mapping):
        weights = dict(cast("Mapping[str, int]", lanes))
    else:
        weights = dict.fromkeys(_names(lanes), 1)
    if type(strict_priority) is not bool:
        raise UsageError(f"strict_priority={strict_priority!r}: use True or False")
    if not weights:
        raise UsageError("lanes=[] leaves a queue that no worker reads: name at least one")
    for name, weight in weights.items():
        checked_lane(name)
        if type(weight) is not int or weight < 1:
            raise UsageError(f"lane {name!r} has weight {weight!r}: use a whole number from 1 on")
    return Lanes(weights, strict_priority)


def served(weights: Mapping[str, int], names: Iterable[str] | None) -> dict[str, int]:
    """Return the lanes of a queue that a worker serves; None is all.

    Raises:
        UsageError: The queue has no such lane.
    """
    if names is None:
        return dict(weights)
    chosen = dict.fromkeys(_names(names))
    if not chosen:
        raise UsageError("lanes=[] leaves the worker nothing to serve; leave it out for all lanes")
    for name in chosen:
        if name not in weights:
            raise UsageError(f"the queue has no lane {name!r}: it has {', '.join(weights)}")
    return {name: weights[name] for name in chosen}


def _names(lanes: object) -> list[str]:
    """The lanes that are named, in their order."""
    if isinstance(lanes, str | bytes):
        name = lanes if isinstance(lanes, str) else lanes.decode(errors="replace")
        raise UsageError(f"lanes={lanes!r} is a single name: write lanes=[{name!r}]")
    if not isinstance(lanes, Iterable):
        raise UsageError(f"lanes={lanes!r} is no list of names: write lanes=['high', 'low']")
    return [checked_lane(name) for name in cast("Iterable[str]", lanes)]


class StrideScheduler:
    """How far each lane has come, in jobs over weight: the one that is behind is next.

    A lane that has run dry does not save up turns meanwhile; it starts again
    beside the one that is behind of those that had work.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = weights
        self.passes = [0.0] * len(weights)

    def note(self, taken: Sequence[int], dry: Collection[int]) -> None:
        """Note what was *taken* from each lane, and which have run dry (places from 0)."""
        passes = [p + n / w for p, n, w in zip(self.passes, taken, self.weights, strict=True)]
        working = [p for place, p in enumerate(passes) if place not in dry]
        behind = min(working) if working else 0.0
        for place in dry:
            passes[place] = max(passes[place], behind) if working else 0.0
        # Only the differences mean anything; kept small, they stay exact.
        least = min(passes)
        self.passes = [p - least for p in passes]
