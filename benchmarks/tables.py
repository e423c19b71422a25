"""Put the tables of ``results/*.json`` into the README, between the markers."""

import json
from pathlib import Path

from benchmarks.contestants import HERE
from benchmarks.report import Report, render, render_machine

RESULTS = HERE / "results"
LATEST = RESULTS / "latest"  # with the fastest peer alone, which takes minutes
README = HERE / "README.md"
BEGIN = "<!-- tables: begin -->"
END = "<!-- tables: end -->"

#: The order of reading; a file of another name comes last.
ORDER = (
    "drain",
    "enqueue",
    "roundtrip",
    "inflight",
    "queued_memory",
    "awaits",
    "idle",
    "delayed",
    "due",
    "stream",
    "lanes",
    "cancels",
)


def fill_readme() -> None:
    """Replace what is between the markers; the rest is untouched.

    Raises:
        SystemExit: There are no results, or the README has lost its markers.
    """
    reports = load(RESULTS)
    if not reports:
        raise SystemExit(f"no results in {RESULTS}; run python -m benchmarks.all first")
    text = README.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"{README} has no {BEGIN} and {END}")
    tables = _section("### With all peers", reports)
    if latest := load(LATEST):
        tables = f"{_section('### The latest, with the fastest peer', latest)}\n\n{tables}"
    README.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def load(folder: Path) -> list[Report]:
    """Return the reports of *folder* in reading order."""
    paths = sorted(folder.glob("*.json"), key=_rank)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _section(title: str, reports: list[Report]) -> str:
    return "\n\n".join([title, render_machine(_fullest(reports)), *map(render, reports)])


def _rank(path: Path) -> tuple[int, str]:
    known = path.stem in ORDER
    return ORDER.index(path.stem) if known else len(ORDER), path.stem


def _fullest(reports: list[Report]) -> Report:
    return max(reports, key=lambda report: len(report["versions"]))


if __name__ == "__main__":
    fill_readme()
