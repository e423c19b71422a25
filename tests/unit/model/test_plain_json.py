"""The limits of plain JSON: numbers, strings, keys and nesting."""

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic import SecretStr as Secret

from aiostreamq import PayloadError
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.task import TaskSpec
from aiostreamq.model.values.equality import difference
from aiostreamq.model.values.plain_json import encode, fault_in
from tests.support.case_ids import short

UTF_8 = st.characters(exclude_categories=["Cs"])


class Colour(Enum):
    """An enum."""

    RED = "red"


class Size(IntEnum):
    """An enum of numbers."""

    SMALL = 1


class Mood(StrEnum):
    """An enum of strings."""

    FINE = "fine"


@dataclass
class Point:
    """A dataclass."""

    x: float
    note: str | None = None


class Model(BaseModel):
    """A pydantic model."""

    x: float
    note: str | None = None


class Text(str):
    """A string that is more than one."""

    __slots__ = ()


class Pair(NamedTuple):
    """A named tuple."""

    left: int


INEXACT: list[tuple[object, str]] = [
    (Decimal("1.10"), "a Decimal"),
    (b"a", "a bytes"),
    (bytearray(b"ab"), "a bytearray"),
    ({3}, "a set"),
    (frozenset({"a"}), "a frozenset"),
    (timedelta(hours=1), "a timedelta"),
    (date(2024, 2, 29), "a date"),
    (datetime(2024, 2, 29, tzinfo=UTC), "a datetime"),
    (UUID(int=7), "a UUID"),
    (Colour.RED, "a Colour"),
    (Size.SMALL, "a Size"),
    (Mood.FINE, "a Mood"),
    (Point(1.5), "a Point"),
    (Model(x=1.5), "a Model"),
    (Pair(1), "a Pair"),
    (Text("a"), "a Text"),
    (OrderedDict(a=1), "an OrderedDict"),
    (defaultdict(int), "a defaultdict"),
    (object(), "an object"),
    (len, "a builtin_function_or_method"),
    (1j, "a complex"),
    (range(3), "a range"),
    (Secret("x"), "a SecretStr"),
]

PLACES: list[tuple[Callable[[object], object], str]] = [
    (lambda bad: bad, "it"),
    (lambda bad: [1, [bad]], "[1][0]"),
    (lambda bad: {"a": {"b": bad}}, "['a']['b']"),
    (lambda bad: (None, bad), "[1]"),
]


@pytest.mark.parametrize(("place", "at"), PLACES)
@pytest.mark.parametrize(("value", "kind"), INEXACT, ids=short)
def test_what_is_not_plain_json(
    value: object, kind: str, place: Callable[[object], object], at: str
) -> None:
    """It is refused instead of being changed, with its place and its type."""
    with pytest.raises(PayloadError) as refused:
        encode(place(value))
    assert str(refused.value) == f"{at} is {kind}, which is not JSON"


@pytest.mark.parametrize("key", [1, None, Mood.FINE, Text("a"), (1, 2), b"a"], ids=short)
def test_keys_that_are_no_strings(key: object) -> None:
    """They are refused: JSON has no others."""
    with pytest.raises(PayloadError, match=r"^\['a'\] has an? \w+ as a key"):
        encode({"a": {key: 1}})


@pytest.mark.parametrize(("place", "at"), PLACES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_number(bad: float, place: Callable[[object], object], at: str) -> None:
    """NaN and infinities are refused wherever they hide: as null they would be lost."""
    with pytest.raises(PayloadError) as refused:
        encode(place(bad))
    assert str(refused.value) == f"{at} is NaN or infinite: send a string"


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, [10**30], {"a": 2**64}], ids=short)
def test_ints_beyond_64_bits(value: object) -> None:
    """They are refused: most readers would make floats of them."""
    with pytest.raises(PayloadError, match=r"is an int beyond 64 bits: send a string$"):
        encode(value)


@pytest.mark.parametrize("value", ["\udcff", ["\ud800"], {"\ud800": 1}], ids=ascii)
def test_no_text(value: object) -> None:
    """Strings that UTF-8 does not have are refused."""
    with pytest.raises(PayloadError, match="lone surrogate"):
        encode(value)


def test_argument_that_is_too_deep_inside_a_call() -> None:
    """A value as deep as JSON allows does not fit into the arguments: the call is refused."""
    deep: list[object] = []
    for _ in range(253):
        deep = [deep]
    assert encode(deep)
    with pytest.raises(PayloadError, match=r"^task 't', Recursion limit reached"):
        write_call(TaskSpec("t"), [deep], {}, {})


def test_a_value_that_holds_itself() -> None:
    """It is refused; the loop does not run away."""
    endless: list[object] = [None]
    endless.append(endless)
    with pytest.raises(PayloadError, match="nested too deeply"):
        encode(endless)


@pytest.mark.parametrize("value", [(1, 2), [(1,)], {"a": [1, (2, "(")]}, [["("], ()]], ids=short)
def test_tuples(value: object) -> None:
    """They are written as lists, and found if that would be a change."""
    assert b"[" in encode(value)
    assert (fault_in(value, allow_tuples=False) or "").endswith("a tuple, which is not JSON")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(UTF_8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(UTF_8), inner),
)  # fmt: skip


@given(plain)
def test_plain_json(value: object) -> None:
    """It arrives to the last digit."""
    assert difference(value, orjson.loads(encode(value))) is None


def test_the_rule_and_the_walk_agree() -> None:
    """What is refused in C is what the walk, which says why, finds."""
    for value, _ in INEXACT:
        assert fault_in(value) is not None
    assert fault_in([None, True, 1, 1.5, "a", {"a": ()}]) is None
