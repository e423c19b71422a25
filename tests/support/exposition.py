"""Metrics as Prometheus reads them: parsed strictly, and found by name and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,  # pyright: ignore[reportUnknownVariableType]  # untyped there
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

    Parse = Callable[[str], Iterable[Metric]]

#: The `Accept` header that asks for OpenMetrics, as Prometheus sends it.
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Exposition:
    """The metrics of one scrape."""

    def __init__(self, text: bytes, content_type: str) -> None:
        """Parse it, by its content type; anything that is not quite right fails."""
        is_openmetrics = content_type.startswith("application/openmetrics-text")
        assert is_openmetrics or content_type.startswith("text/plain")
        parse = cast("Parse", parse_openmetrics if is_openmetrics else parse_text)
        self.families = list(parse(text.decode()))

    @property
    def samples(self) -> Iterator[Sample]:
        """All samples."""
        for family in self.families:
            yield from family.samples

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return {sample.name for sample in self.samples}

    def sum(self, name: str, **labels: str) -> float | None:
        """Return the sum of the series of a name with these labels; None if there is none."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of a name by those of their labels, in the order of their names."""
        return {
            tuple(sample.labels[key] for key in sorted(sample.labels)): sample.value
            for sample in self.samples
            if sample.name == name
        }
