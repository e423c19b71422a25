"""Values that another program may have written."""

import pytest

from aiostreamq.model.stored import json_object, number, string, text


@pytest.mark.parametrize(
    "raw", [None, b"", b" 1", b"1_0", b"-1", b"+1", b"1.0", b"9" * 16, "²".encode()]
)
def test_unreadable_number_becomes_the_default(raw: bytes | None) -> None:
    """Nothing raises, however long it is."""
    assert number(raw, 7) == 7


def test_number() -> None:
    """Digits are a number, up to 15."""
    assert number(b"007", 0) == 7
    assert number(b"9" * 15, 0) == 999_999_999_999_999


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"5", b"\xff"])
def test_unreadable_object_is_empty(raw: bytes) -> None:
    """So is JSON that is something else."""
    assert json_object(raw) == {}


def test_text_and_strings() -> None:
    """Bytes that are not UTF-8 stay visible; what is not a string is empty."""
    assert text(b"a\xff") == "a\\xff"
    assert (string("a"), string(None), string(b"a")) == ("a", "", "")
    assert json_object(b'{"a":1}') == {"a": 1}
