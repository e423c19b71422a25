"""Text from elsewhere cannot control a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.model.terminal_text import ascii_json, visible, visible_lines
from tests.support.hostile_text import HOSTILE_TEXTS, steering


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_hostile_text(text: str) -> None:
    """It is shown escaped, with all that was readable in it."""
    shown = visible(text)
    assert shown.isprintable()
    assert shown[0] + shown[-1] == "az"
    assert not steering(visible_lines(text))


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text(text: str) -> None:
    """It becomes one printable line, from which it can be read again."""
    shown = visible(text)
    assert shown.isprintable()
    if shown != text:
        assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_json(text: str) -> None:
    """It becomes ASCII, and is the same JSON."""
    written = json.dumps({text: text}, ensure_ascii=False)
    shown = ascii_json(written)
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(shown) == json.loads(written)


def test_letters_of_other_scripts() -> None:
    """They are left as they are, also beside something that is escaped."""
    assert visible("Grüße, 世界\n") == "Grüße, 世界\\n"


def test_lines() -> None:
    """Lines stay lines; what else would break them does not."""
    assert visible_lines("one\ntwo\r\nthree\u2028") == "one\ntwo\\r\nthree\\u2028"
