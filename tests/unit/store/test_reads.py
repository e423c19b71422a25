"""How many entries a read asks for."""

import pytest

from aiostreamq.store.reads import FIRST, READ_BYTES, ReadSize


@pytest.mark.parametrize("average", [1, 150, 2_000, 50_000, READ_BYTES, 50 * READ_BYTES])
def test_it_settles(average: int) -> None:
    """It grows or shrinks to as many as fit, and one is always asked for."""
    size = ReadSize()
    for _ in range(20):
        size.note(size.most, size.most * average)
    assert size.most == max(1, READ_BYTES // average)


def test_it_begins_small() -> None:
    """Nothing is known before the first read, and growth is by doubling."""
    size = ReadSize()
    seen = [size.most]
    for _ in range(3):
        size.note(1, 100)
        seen.append(size.most)
    assert seen == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]


def test_long_ones_count_at_once() -> None:
    """A read with long payloads is followed by a short one; short payloads are believed slowly."""
    size = ReadSize()
    for _ in range(10):
        size.note(10, 1_000)
    size.note(1, READ_BYTES)
    assert size.most == 1
    size.note(1, 100)
    assert size.most == 1
    for _ in range(60):
        size.note(1, 100)
    assert size.most > 1000


def test_empty() -> None:
    """A read that brings nothing changes nothing."""
    size = ReadSize()
    size.note(0, 5)
    assert (size.most, size.average) == (FIRST, 0)


def test_halve() -> None:
    """Down to one."""
    size = ReadSize()
    for _ in range(10):
        size.halve()
    assert size.most == 1
