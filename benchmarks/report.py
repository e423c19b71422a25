"""What a question's run leaves behind, and how it looks as text.

The same Markdown goes to the terminal and into the README, so a table cannot
say one thing here and another there.
"""

from collections.abc import Callable, Iterable
from statistics import median
from typing import TypedDict

from benchmarks.contestants import FLOOR, OURS

#: A cell without a figure.
NOTHING = "-"

#: One round's figures of one contestant, by metric; None where it has none.
Sample = dict[str, float | None]


class Metric(TypedDict):
    """One column of figures."""

    name: str
    title: str
    is_more_better: bool
    #: Whether the columns with the ratios follow.
    is_compared: bool
    digits: int


class Report(TypedDict):
    """One question's answer, as it is written to JSON."""

    question: str
    title: str
    taken: str
    jobs: int
    rounds: int
    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    metrics: list[Metric]
    samples: dict[str, list[Sample]]
    failures: dict[str, list[str]]
    left_out: dict[str, str]


def metric(
    name: str, title: str, *, more_is_better: bool = False, compared: bool = False, digits: int = 0
) -> Metric:
    """Return a metric; most of them are costs, where less is better."""
    return Metric(
        name=name,
        title=title,
        is_more_better=more_is_better,
        is_compared=compared,
        digits=digits,
    )


def render(report: Report) -> str:
    """Return the report as Markdown: a caption, the table, the remarks."""
    caption = f"**{report['title']}** {report['jobs']:,} jobs, {_rounds(report['rounds'])}"
    return "\n\n".join([caption, _table(report), *_remarks(report)])


def render_machine(report: Report) -> str:
    """Return machine and versions as Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    lines = [
        f"- {contestant}: " + ", ".join(f"{name} {version}" for name, version in versions.items())
        for contestant, versions in report["versions"].items()
    ]
    return "\n".join([f"Taken {report['taken']} on {machine}.", "", *lines])


def _rounds(rounds: int) -> str:
    if rounds == 1:
        return "one round."
    return f"{rounds} rounds: median (least to most)."


def _table(report: Report) -> str:
    heading = [""]
    for column in report["metrics"]:
        heading.append(column["title"])
        if column["is_compared"]:
            heading += ("x floor", "x best peer")
    rows = [[name, *_cells(report, name)] for name in _order(report)]
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in (heading, ruler, *rows))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _cells(report: Report, name: str) -> list[str]:
    cells: list[str] = []
    for column in report["metrics"]:
        values = _values(report, name, column)
        cells.append(_spread(values, column["digits"]))
        if column["is_compared"]:
            cells.append(_ratio(values, _values(report, FLOOR.name, column)))
            cells.append(_ratio(values, _best_peer(report, column)))
    return cells


def _values(report: Report, name: str, column: Metric) -> list[float]:
    samples = report["samples"].get(name, [])
    return [value for sample in samples if (value := sample.get(column["name"])) is not None]


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return NOTHING
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _ratio(values: list[float], others: list[float]) -> str:
    if not values or not others or not median(others):
        return NOTHING
    return f"{median(values) / median(others):.2f}"


def _best_peer(report: Report, column: Metric) -> list[float]:
    peers = [name for name in report["samples"] if name not in (FLOOR.name, OURS.name)]
    results = [values for name in peers if (values := _values(report, name, column))]
    return _best_of(column)(results, key=median, default=[])


def _best_of(column: Metric) -> Callable[..., list[float]]:
    return max if column["is_more_better"] else min


def _order(report: Report) -> list[str]:
    """Return floor and aiostreamq, then the peers, the best by the first metric first."""
    first = report["metrics"][0]
    sign = -1 if first["is_more_better"] else 1

    def rank(name: str) -> tuple[bool, bool, float]:
        values = _values(report, name, first)
        worst = float("inf")
        return name != FLOOR.name, name != OURS.name, sign * median(values) if values else worst

    return sorted(report["samples"], key=rank)


def _remarks(report: Report) -> list[str]:
    remarks = [f"Left out: {name} ({why})." for name, why in report["left_out"].items()]
    remarks += [
        f"{name} failed in {len(reasons)} of {report['rounds']} rounds: {reasons[0]}."
        for name, reasons in report["failures"].items()
    ]
    return remarks
