import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aiostreamq import PayloadError
from aiostreamq.model.wire import encode


class Colour(Enum):
    """An enum."""

    RED = "red"


@dataclass
class Point:
    """A dataclass."""

    x: float
    note: str | None = None


@dataclass(slots=True)
class SlottedPoint:
    """A dataclass without a __dict__."""

    x: float
    note: str | None = None


@dataclass(slots=True)
class SlottedPoint3(SlottedPoint):
    """One that has fields of its own besides its parent's."""

    z: float = 0.0


class Model(BaseModel):
    """A pydantic model."""

    x: float
    note: str | None = None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("1.10"), "1.10"),
        (b"\xff\x00", base64.urlsafe_b64encode(b"\xff\x00").decode()),
        (bytearray(b"ab"), "YWI="),
        ({3}, [3]),
        (frozenset({"a"}), ["a"]),
        (timedelta(hours=1, microseconds=5), "PT3600.000005S"),
        (timedelta(seconds=-90), "-PT90S"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03+00:00"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Point(1.5), {"x": 1.5, "note": None}),
        (Model(x=1.5), {"x": 1.5, "note": None}),
        ((1, 2), [1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rich_values_without_annotation(value: object, written: object) -> None:
    """They are written the way pydantic reads them, wherever they stand."""
    assert orjson.loads(encode(value)) == written
    assert orjson.loads(encode({"deep": [value]})) == {"deep": [written]}


BAD_PLACES: list[Callable[[float], object]] = [
    lambda bad: bad,
    lambda bad: [1, [bad]],
    lambda bad: {"a": {"b": bad}},
    lambda bad: (None, bad),
    lambda bad: {bad},
    Point,
    SlottedPoint,
    lambda bad: SlottedPoint3(bad, None, 1.0),
    lambda bad: Model(x=bad),
    lambda bad: [Point(1.0), {"p": Point(bad)}],
]


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_number(bad: float, place: Callable[[float], object]) -> None:
    """NaN and infinities are refused wherever they hide: as null they would be lost."""
    with pytest.raises(PayloadError, match="NaN"):
        encode(place(bad))


@pytest.mark.parametrize(
    "beside",
    [
        None,
        Colour.RED,
        uuid4(),
        date(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        timedelta(1),
        Decimal(1),
        b"x",
        {1, 2},
        Point(1.0),
        SlottedPoint3(1.0),
        Model(x=1.0),
        "null",
    ],
    ids=lambda value: type(value).__name__,
)
def test_null_beside_other_values(beside: object) -> None:
    """A None among values of any kind is no reason to refuse them."""
    assert orjson.loads(encode([None, beside]))[0] is None
    assert orjson.loads(encode({"none": None, "beside": beside}))["none"] is None


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        [10**30],
        object(),
        {1: "a number is no key"},
        "\udcff",
        {"\ud800": 1},
        len,
        1j,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_can_not_be_written(value: object) -> None:
    """It is refused instead of being changed."""
    with pytest.raises(PayloadError):
        encode(value)


def test_a_value_that_holds_itself() -> None:
    """It is refused; the loop does not run away."""
    endless: list[object] = [None]
    endless.append(endless)
    with pytest.raises(PayloadError):
        encode(endless)


@given(st.integers(-(2**63), 2**64 - 1))
def test_ints_of_64_bits(number: int) -> None:
    """Every int of 64 bits arrives to the last digit."""
    assert orjson.loads(encode(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats(number: float) -> None:
    """Every float arrives to the last bit."""
    assert orjson.loads(encode([number, None])) == [number, None]
