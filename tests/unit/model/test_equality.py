"""Where a value that has travelled differs from the one that was sent."""

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import NoReturn
from zoneinfo import ZoneInfo

import pytest
from freezegun.api import FakeDate, FakeDatetime
from pydantic import BaseModel, ConfigDict, PrivateAttr

from aiostreamq.model.values.equality import difference, number_fault
from tests.support.case_ids import short

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN_MADRID = NOON.astimezone(ZoneInfo("Europe/Madrid"))


class Open:
    """An object of attributes, without `==`."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)

    @cached_property
    def total(self) -> int:
        """A value that is computed once."""
        return 1


class Unequal:
    """An object whose `==` raises."""

    def __eq__(self, other: object) -> NoReturn:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        return 1


class Closed:
    """An object without attributes that compares by identity."""

    __slots__ = ()


@dataclass(slots=True, repr=False)
class Slotted:
    """A dataclass one field of which may be missing."""

    a: int = 1
    b: int = field(default=2, init=False)


class Loose(BaseModel):
    """A model with a private attribute and attributes that it does not declare."""

    model_config = ConfigDict(extra="allow")
    _kept: int = PrivateAttr(default=1)


def without_b() -> Slotted:
    """Return an object that has lost a field."""
    found = Slotted()
    del found.b
    return found


def computed() -> Open:
    """Return an object whose cached property has been computed."""
    found = Open(a=1)
    assert found.total == 1
    return found


def loose(kept: int) -> Loose:
    """Return a model with another private attribute."""
    found = Loose.model_validate({"extra": 1})
    setattr(found, "_kept", kept)  # noqa: B010  # private, and there to be compared
    return found


SAME: list[tuple[object, object]] = [
    (1, 1.0),  # the annotation makes a float of it
    (float("nan"), float("nan")),
    ([1, "a", None, b"x", True], [1, "a", None, b"x", True]),
    (deque([1], 2), deque([1], 2)),
    (defaultdict(int, a=1), defaultdict(int, a=1)),
    (OrderedDict(a=1, b=2), OrderedDict(a=1, b=2)),
    ({"a": {1, 2}}, {"a": {2, 1}}),
    (NOON, NOON.astimezone(timezone(timedelta(0), "Z"))),
    (IN_MADRID, IN_MADRID.astimezone(timezone(timedelta(hours=1)))),
    (Open(a=1), Open(a=1)),
    (computed(), Open(a=1)),
    (without_b(), without_b()),
    (loose(1), loose(1)),
]

OTHER: list[tuple[object, object, str]] = [
    (1, 2.0, "it is an int and would arrive as a float"),
    (2**70, 2**70, "it is an int beyond 64 bits"),
    ([1], [1, 2], "it would arrive changed"),
    ([[1], [2]], [[1], [3]], "[1][0] would arrive changed"),
    (deque([1], 2), deque([1]), "it would arrive changed"),
    (defaultdict(int), defaultdict(str), "it would arrive changed"),
    (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), "it would arrive changed"),
    ({"a": 1}, {"b": 1}, "['a'] would be lost"),
    ({1: 1}, {True: 1}, "[1] would be lost"),
    ({"a": 1}, {"a": 2}, "['a'] would arrive changed"),
    ({"a": 1}, {"a": 1, "b": 2}, "it would arrive changed"),
    ({1}, {2}, "it would arrive changed"),
    ({1}, {1.5, 1}, "it would arrive changed"),
    ({1}, {True}, "{} is an int and would arrive as a bool"),
    (NOON, NOON.replace(tzinfo=None), "it would arrive changed"),
    (NOON, IN_MADRID, "it would arrive changed"),
    (Open(a=1), Open(a=2), ".a would arrive changed"),
    (Open(a=1), Open(), ".a would be lost"),
    (Open(), Open(a=1), ".a would be added"),
    (Slotted(), without_b(), ".b would be lost"),
    (loose(1), loose(2), "._kept would arrive changed"),
    (Unequal(), Unequal(), "it would arrive changed"),
    (Closed(), Closed(), "it would arrive changed"),
]


@pytest.mark.parametrize(("sent", "arrived"), SAME, ids=short)
def test_same(sent: object, arrived: object) -> None:
    """Values that are equal in all parts and types have no difference."""
    assert difference(sent, arrived) is None


@pytest.mark.parametrize(("sent", "arrived", "expected"), OTHER, ids=short)
def test_difference(sent: object, arrived: object, expected: str) -> None:
    """The first part that differs is named, with how it differs."""
    found = difference(sent, arrived)
    assert found is not None
    assert found.startswith(expected)


def test_numbers_in_a_value_that_holds_itself() -> None:
    """A value that holds itself is refused as nested too deeply."""
    endless: list[object] = []
    endless.append(endless)
    assert number_fault(endless) == "it is nested too deeply, or holds itself"


def test_numbers_in_attributes() -> None:
    """A number that JSON cannot carry is found in fields and in the keys of a dict."""
    assert number_fault({float("inf"): [1]}) == "it is NaN or infinite: send a string"
    assert number_fault([loose(1), Slotted(a=2**64)]) is not None
    assert number_fault([loose(1), Slotted(), {1}, "a", object()]) is None


def test_frozen_time() -> None:
    """What freezegun puts in the place of a datetime or date is one, and is compared as one."""
    fake = FakeDatetime(2026, 3, 1, tzinfo=UTC)
    real = datetime(2026, 3, 1, tzinfo=UTC)
    for one, other in [(fake, real), (FakeDate(2026, 3, 1), real.date())]:
        assert difference([one], [other]) is None
        assert difference([other], [one]) is None
        assert difference(one, other + timedelta(days=1)) == "it would arrive changed"
    assert difference(fake, FakeDate(2026, 3, 1)) is not None
