"""Put the zoo into docs/explanation/reliability.md, between the markers.

python -m tests.hostile.page
"""

from collections.abc import Iterable
from pathlib import Path

from tests.hostile.app import LOGS
from tests.hostile.zoo import DOES, EVERYWHERE, RAISES, RETURNS, Entry

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"
BEGIN = "<!-- zoo: begin -->"
END = "<!-- zoo: end -->"

HEADING = ("what a task does", "where", "how its job ends")

_PLACES = {"loop": "loop", "thread": "thread", "process": "process", "stream": "stream"}


def fill_page() -> None:
    """Replace what is between the markers; the rest is untouched."""
    PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """Return the page with the tables of the zoo.

    Raises:
        SystemExit: The page has lost its markers.
    """
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"{PAGE} has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}"


def render() -> str:
    """Return all that the zoo has, as Markdown."""
    entries = [*(entry for entry in RAISES if entry.instead), *RETURNS, *DOES]
    rows = [HEADING, ("---",) * len(HEADING), *map(_cells, entries)]
    raised = "; ".join(entry.what for entry in RAISES)
    logs = "; ".join(LOGS)
    return "\n".join(
        [
            f"Exceptions, each raised in all four places: {raised}.",
            "",
            f"Logging set up by the application: {logs}.",
            "",
            *map(_row, rows),
        ]
    )


def _cells(entry: Entry) -> tuple[str, ...]:
    by_end: dict[str, list[str]] = {}
    for place in entry.places:
        by_end.setdefault(_said(entry.end_in(place)), []).append(_PLACES[place])
    ends = (
        next(iter(by_end))
        if len(by_end) == 1
        else "; ".join(f"{end} ({', '.join(places)})" for end, places in by_end.items())
    )
    where = "everywhere" if entry.places == EVERYWHERE else ", ".join(entry.places)
    return f"{'raises ' if entry.instead else ''}{entry.what}", where, ends


def _said(end: str) -> str:
    """Return an end as people read it."""
    state, _, kind = end.partition(" ")
    state = state.replace("_", " ")
    return f"{state} with `{kind.rpartition('.')[2]}`" if kind else state


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    fill_page()
