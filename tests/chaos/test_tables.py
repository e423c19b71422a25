"""The figures of the documentation are those of the last long runs."""

from tests.chaos.tables import PAGE, RESULTS, filled, load


def test_page_shows_the_results() -> None:
    """The table in the page is what `python -m tests.chaos.tables` writes there."""
    lines = load(RESULTS)
    assert lines
    assert PAGE.read_text() == filled(PAGE.read_text(), lines)


def test_results_are_of_the_long_form() -> None:
    """No figure in the page comes from a run that was made for being quick."""
    assert {line.form for line in load(RESULTS)} == {"long"}
