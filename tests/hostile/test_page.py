"""The documentation shows the zoo as it is."""

from tests.hostile.page import PAGE, filled
from tests.hostile.zoo import ZOO


def test_page_shows_the_zoo() -> None:
    """The tables in the page are what `python -m tests.hostile.page` writes there."""
    assert PAGE.read_text() == filled(PAGE.read_text())


def test_entries() -> None:
    """No entry is there twice in a place."""
    seen = [(entry.what, place) for entry in ZOO for place in entry.places]
    assert len(seen) == len(set(seen))
