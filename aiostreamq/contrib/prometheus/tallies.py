"""Counters and histograms that one thread fills, and any other reads.

Those of prometheus_client take a lock for each observation, write to files if the program has set
that up for its own metrics, and emit a second series for each.
"""

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds. Jobs of milliseconds and of an hour differ, in few series.
BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class CounterTally:
    """A counter: how often something happened, by labels."""

    def __init__(self, name: str, documentation: str, labels: "Sequence[str]") -> None:
        """Begin with nothing; *name* is without the ending `_total`."""
        self._about = name, documentation
        self._labels = labels
        self._counts = Counter[tuple[str, ...]]()

    def add(self, *labels: str, by: int = 1) -> None:
        """Count something."""
        self._counts[labels] += by

    def begin(self, *labels: str) -> None:
        """Show a count of 0, so that the first thing that happens is an increase. From any thread.

        Prometheus takes a count that is new for what has been there before.
        """
        self._counts.setdefault(labels, 0)

    def family(self) -> CounterMetricFamily:
        """Return the counts, as they are now."""
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for labels, count in dict(self._counts).items():
            family.add_metric(labels, count)
        return family


class HistogramTally:
    """A histogram: how long something took, by labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: "Sequence[str]",
        bounds: "Sequence[float]" = BOUNDS,
    ) -> None:
        """Begin with nothing; *bounds* are seconds."""
        self._about = name, documentation
        self._labels = labels
        self._bounds = bounds
        # For each bucket the number, and at the end the sum.
        self._values: dict[tuple[str, ...], list[float]] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count something that took *seconds*."""
        values = self._values.get(labels)
        if values is None:
            values = self._values[labels] = [0] * (len(self._bounds) + 2)
        values[bisect_left(self._bounds, seconds)] += 1
        values[-1] += seconds

    def family(self) -> HistogramMetricFamily:
        """Return the counts, as they are now."""
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        for labels, values in self._values.copy().items():
            *counts, total = list(values)
            add_histogram(family, labels, self._bounds, counts, total)
        return family


def add_histogram(
    family: HistogramMetricFamily,
    labels: "Sequence[str]",
    bounds: "Sequence[float]",
    counts: "Sequence[float]",
    total: float,
) -> None:
    """Add one series to a family.

    Args:
        family: The family.
        labels: The values of its labels.
        bounds: Seconds, in order.
        counts: The numbers below each bound and not below the one before, then that above all.
        total: The sum of all seconds.
    """
    seen, buckets = 0.0, list[tuple[str, float]]()
    for bound, count in zip((*map(repr, bounds), "+Inf"), counts, strict=True):
        seen += count
        buckets.append((bound, seen))
    family.add_metric(labels, buckets, total)
