"""Stream entries are parsed as deliveries, or kept as unreadable."""

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.store.reads import parse_read

PLACES = {b"s": 1}


def read(*fields: bytes) -> Delivery | None:
    """Read one entry with these fields and values; None where it is no job."""
    found = parse_read([(b"s", [(b"1-1", list(fields))])], PLACES)  # pyright: ignore[reportArgumentType] - as hiredis has it
    assert len(found.deliveries) + len(found.unreadable) == 1
    return found.deliveries[0] if found.deliveries else None


def test_rare_fields() -> None:
    """The attempt is read, and what is not known is ignored."""
    found = read(b"id", b"j", b"n", b"7", b"job", b"{}", b"a", b"2", b"new", b"x")
    assert found == Delivery(1, b"1-1", "j", 7, b"{}", 2)


@pytest.mark.parametrize(
    "number", [b"", b"0", b"-1", b"+1", b"1_0", b" 1", b"01", b"1.5", b"9" * 16, b"9" * 5_000]
)
def test_what_is_no_count(number: bytes) -> None:
    """A number that the scripts would read differently, or not at all, makes no job."""
    assert read(b"id", b"j", b"n", number, b"job", b"{}") is None
    assert read(b"id", b"j", b"n", b"1", b"job", b"{}", b"a", number) is None


@pytest.mark.parametrize(
    "fields",
    [
        [b"hello", b"world"],
        [b"n", b"1", b"id", b"j", b"job", b"{}"],
        [b"id", b"\xff", b"n", b"1", b"job", b"{}"],
        [b"id", b"j", b"n", b"1", b"job", b"{}", *[b"x"] * 66],
    ],
)
def test_what_is_no_job(fields: list[bytes]) -> None:
    """Other fields, another order, an id that is no text, or very many of them."""
    assert read(*fields) is None
