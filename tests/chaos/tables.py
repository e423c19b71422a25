"""Put the lines of `results/*.json` into docs/explanation/reliability.md, between the markers.

python -m tests.chaos.tables
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.report import Line, seconds

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "explanation" / "reliability.md"
BEGIN = "<!-- table: begin -->"
END = "<!-- table: end -->"

#: The order of reading; a scenario of another name comes last.
ORDER = (
    *("kills", "pauses", "blocked", "poison", "deploys", "mixed-releases", "restarts", "schedules"),
    *("churn", "bursts", "crash-loop", "mass-death", "callbacks"),
    *("unique", "unique-started", "unique-resets", "mixed-releases-unique"),
    *("keep-latest", "keep-latest-redis", "keep-latest-resets"),
    *("limits", "rates", "order"),
    *("cancels", "steering", "streams", "counters"),
    *("redis-kills", "failover", "partition", "memory", "clock"),
    *("cuts", "resets", "half-open", "slow-network", "bytes", "awaits", "awaiting-clients"),
    *("scripts-flushed", "group-destroyed", "stream-deleted", "all-flushed"),
    "soak",
)

HEADING = ("scenario", "jobs", "faults", "lost", "duplicates", "slowest recovery", "also")


def fill_page() -> None:
    """Replace what is between the markers; the rest is untouched.

    Raises:
        SystemExit: There are no results, or the page has lost its markers.
    """
    lines = load(RESULTS)
    if not lines:
        raise SystemExit(f"no results in {RESULTS}; run make chaos first")
    PAGE.write_text(filled(PAGE.read_text(), lines))


def filled(page: str, lines: list[Line]) -> str:
    """Return the page with a table of these lines.

    Raises:
        SystemExit: The page has lost its markers.
    """
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"{PAGE} has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render(lines)}\n\n{END}{after}"


def load(folder: Path) -> list[Line]:
    """Return the lines of *folder* in reading order."""
    return [
        Line(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"), key=_rank)
    ]


def render(lines: list[Line]) -> str:
    """Return the lines as Markdown: where they were taken, and the table."""
    taken = sorted({f"Taken {line.taken} on {line.machine}." for line in lines})
    rows = [HEADING, ("---",) * len(HEADING), *map(_cells, lines)]
    return "\n".join([*taken, "", *map(_row, rows)])


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.scenario if line.form == "long" else f"{line.scenario} ({line.form} form)",
        f"{line.jobs:,}",
        line.faults,
        str(line.lost),
        str(line.duplicates),
        seconds(line.recovery),
        "; ".join(f"{name}: {value}" for name, value in line.figures.items()) or "-",
    )


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rank(path: Path) -> tuple[int, str]:
    known = path.stem in ORDER
    return ORDER.index(path.stem) if known else len(ORDER), path.stem


if __name__ == "__main__":
    fill_page()
