"""The figures of the documentation are those of the last long runs."""

import re

from tests.chaos.tables import HERE, PAGE, RESULTS, filled, load


def test_page_shows_the_results() -> None:
    """The table in the page is what `python -m tests.chaos.tables` writes there."""
    lines = load(RESULTS)
    assert lines
    assert PAGE.read_text() == filled(PAGE.read_text(), lines)


def test_results_are_of_the_long_form() -> None:
    """No figure in the page comes from a run that was made for being quick."""
    assert {line.form for line in load(RESULTS)} == {"long"}


def test_page_names_all_scenarios() -> None:
    """Each file with a scenario is told of where the page says how to run it, and no other is."""
    told = set(re.findall(r"\| `(test_\w+\.py)` \|$", PAGE.read_text(), flags=re.MULTILINE))
    assert told == {path.name for path in HERE.glob("test_*.py")} - {"test_tables.py"}
