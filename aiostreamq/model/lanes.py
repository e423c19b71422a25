"""Lanes and their weights, and in which order a worker reads them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.options import checked_lane


class Lanes(NamedTuple):
    """The lanes of a queue."""

    weights: Mapping[str, int]  #: weights by lane
    strict_priority: bool  #: whether a lane is read only if all heavier ones are empty


def checked_lanes(lanes: Iterable[str] | Mapping[str, int], *, strict_priority: bool) -> Lanes:
    """Return the lanes of a queue; if only names are given, each has weight 1.

    Raises:
        UsageError: A name or weight is invalid, or there are no lanes.
    """
    if isinstance(lanes, Mapping):
        weights = dict(cast("Mapping[str, int]", lanes))
    else:
        weights = dict.fromkeys(_names(lanes), 1)
    if type(strict_priority) is not bool:
        raise UsageError(f"strict_priority={strict_priority!r}: use True or False")
    if not weights:
        raise UsageError("lanes=[] would be a queue that no worker reads: name at least one lane")
    for name, weight in weights.items():
        checked_lane(name)
        if type(weight) is not int or weight < 1:
            raise UsageError(f"lane {name!r} has weight {weight!r}: use an integer of at least 1")
    return Lanes(weights, strict_priority)


def served(weights: Mapping[str, int], names: Iterable[str] | None) -> dict[str, int]:
    """Return the lanes of a queue that a worker serves; None is all.

    Raises:
        UsageError: The queue does not have one of them.
    """
    if names is None:
        return dict(weights)
    chosen = dict.fromkeys(_names(names))
    if not chosen:
        raise UsageError("lanes=[] gives the worker no lane to serve; leave it out for all lanes")
    for name in chosen:
        if name not in weights:
            raise UsageError(f"the queue has no lane {name!r}: it has {', '.join(weights)}")
    return {name: weights[name] for name in chosen}


def _names(lanes: object) -> list[str]:
    """Return the lane names that *lanes* lists, in its order."""
    if isinstance(lanes, str | bytes):
        name = lanes if isinstance(lanes, str) else lanes.decode(errors="replace")
        raise UsageError(f"lanes={lanes!r} is a single name: write lanes=[{name!r}]")
    if not isinstance(lanes, Iterable):
        raise UsageError(f"lanes={lanes!r} is not a list of names: write lanes=['high', 'low']")
    return [checked_lane(name) for name in cast("Iterable[str]", lanes)]


class StrideScheduler:
    """Stride scheduling: the lane with the fewest jobs taken per weight is next.

    A lane that was empty has not saved up turns: when it has jobs again, it continues level with
    the lane that is next among those that had jobs.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = weights
        self.passes = [0.0] * len(weights)

    def reset(self) -> None:
        """Note that all lanes are empty, whatever was taken from them."""
        self.passes = [0.0] * len(self.weights)

    def note(self, taken: Sequence[int], dry: Collection[int]) -> None:
        """Note how many jobs were *taken* from each lane, and which are empty (indices from 0)."""
        passes = [p + n / w for p, n, w in zip(self.passes, taken, self.weights, strict=True)]
        working = [p for place, p in enumerate(passes) if place not in dry]
        behind = min(working) if working else 0.0
        for place in dry:
            passes[place] = max(passes[place], behind) if working else 0.0
        # Only the differences matter; small numbers stay exact.
        least = min(passes)
        self.passes = [p - least for p in passes]
