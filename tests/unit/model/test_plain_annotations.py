"""Annotations of values that must be restored, and annotations that are refused."""

import sys
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    LiteralString,
    Never,
    NewType,
    NoReturn,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
    Unpack,
)

import attrs
import pytest
from annotated_types import Gt
from pydantic import AfterValidator, Field, Json, PositiveInt, SecretStr
from typing_extensions import TypeAliasType

from aiostreamq import PayloadError, UsageError
from aiostreamq.model.values.codec import ValueCodec
from aiostreamq.model.values.plain_annotations import carrier_of, depth_of, is_open, is_plain, shown

UserId = NewType("UserId", int)
Secret = NewType("Secret", bytes)
ManyIds = NewType("ManyIds", list[UserId])
Rows = TypeAliasType("Rows", list[list[int]])
T = TypeVar("T")


class Mood(StrEnum):
    """An enum of strings."""

    FINE = "fine"


class Options(TypedDict):
    """A typed dict of plain values."""

    name: Required[str]
    sizes: NotRequired[list[int]]


class Nested(Options, total=False):
    """One that inherits."""

    inner: Options | None


class Loop(TypedDict):
    """One that holds itself."""

    next: "Loop | None"


class Dated(TypedDict):
    """One whose values are not plain."""

    on: datetime


class Unfinished(TypedDict):
    """One with a name that is not defined."""

    x: int


class Struct:
    """What a class of msgspec looks like."""

    __struct_fields__ = ("x",)


class Array:
    """What a class of numpy looks like."""

    __module__ = "numpy"


@attrs.define
class Attrs:
    """A class of attrs."""

    x: int


@dataclass
class Point:
    """A dataclass."""

    x: int


PLAIN = [
    str, int, float, bool, None, type(None), list, dict, object, Any, T, UserId,
    list[int], dict[str, list[dict[str, float]]], int | None, Optional[str],  # noqa: UP045
    Union[int, str], Literal["a", 1, True], "Forward",  # noqa: UP007
    Literal["b"] | None, Annotated[int, "positive"], Annotated[Annotated[int, "a"], "b"],
    LiteralString, NoReturn, Never, Iterable[int], Collection[int], Sequence[int], Iterable,
    Mapping[str, int], MutableMapping[str, list[int]], Options, Nested, Loop, ManyIds,
    dict[str, Any], Unpack[Options],
]  # fmt: skip

RICH = [
    set, set[int], frozenset[str], tuple, tuple[int, ...], bytes, datetime, Decimal, Point, Secret,
    list[datetime], dict[str, bytes], dict[int, str], Decimal | None, Annotated[set[int], "ids"],
    Sequence[datetime], Mapping[int, int], Iterable[bytes], Dated, Mood, Literal[Mood.FINE],
    Literal[b"a"], PositiveInt, Annotated[str, AfterValidator(str.upper)], SecretStr, Json,
    Annotated[int, Gt(1)], Annotated[str, Field(max_length=3)], list[PositiveInt],
]  # fmt: skip


@pytest.mark.parametrize("annotation", PLAIN, ids=str)
def test_plain(annotation: object) -> None:
    """What JSON has comes back as it went: nothing is done about it."""
    assert is_plain(annotation)


@pytest.mark.parametrize("annotation", RICH, ids=str)
def test_rich(annotation: object) -> None:
    """What JSON lacks has to be restored, also deep inside."""
    assert not is_plain(annotation)


def test_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the value, its annotation, and the extra to install."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(UsageError, match=r"argument 'when'.*datetime.*aiostreamq\[pydantic\]"):
        ValueCodec(datetime, "argument 'when' of task 'remind'")


def test_unsupported_type_is_refused_by_name() -> None:
    """It is refused when the restorer is made, and named."""

    class Opaque:
        pass

    with pytest.raises(UsageError, match=r"argument 'it'.*Opaque.*cannot be sent as JSON"):
        ValueCodec(Opaque, "argument 'it'")


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Attrs, "classes of attrs are not supported: use a dataclass or a pydantic model"),
        (list[Attrs] | None, "classes of attrs are not supported"),
        (Struct, "classes of msgspec are not supported"),
        (dict[str, Array], "values of numpy are not supported: send plain lists and numbers"),
    ],
    ids=str,
)
def test_classes_of_others(annotation: object, reason: str) -> None:
    """They are refused, with what to use in their place."""
    with pytest.raises(UsageError, match=f"^argument 'it' is .* cannot be sent as JSON: {reason}"):
        ValueCodec(annotation, "argument 'it'")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        *((kind, False) for kind in (int, None, list[int], Options, Sequence[str], UserId)),
        *((kind, False) for kind in (dict[str, int | None], Literal["a"], Loop)),
        *((kind, True) for kind in (object, Any, list, dict, T, "Later", Mapping, Iterable)),
        *((kind, True) for kind in (dict[str, Any], list[dict[str, object]], Any | None)),
    ],
    ids=str,
)
def test_open(annotation: object, expected: bool) -> None:  # a table
    """An annotation is open if it leaves unsaid what some values are."""
    assert is_plain(annotation)
    assert is_open(annotation) is expected


def test_depth() -> None:
    """The depth counts lists and dicts, and each type that holds itself once."""
    assert depth_of(Loop) == 1
    assert depth_of(list[Nested]) == 4
    assert depth_of(Rows) == 2


def test_annotations_that_cannot_be_looked_into() -> None:
    """A typed dict with a name that is not defined is not plain; marks without a hash are fine."""
    Unfinished.__annotations__["x"] = ForwardRef("NotDefined")
    assert not is_plain(Unfinished)
    assert is_plain(Annotated[list[int], []])


def test_carriers() -> None:
    """What can only be gone over is carried as a list, also as one of several."""
    assert carrier_of(Iterable[bytes]) == list[bytes]
    assert carrier_of(Collection[bytes] | None) == list[bytes] | None
    assert carrier_of(Sequence[bytes]) == Sequence[bytes]


def test_shown() -> None:
    """Annotations are shown as people write them."""
    assert shown(Point) == "Point"
    assert shown(Point | None).endswith("Point | None")
    assert shown(Literal["a"]) == "Literal['a']"


def test_a_value_of_another_type() -> None:
    """It is refused where it is written, before it is anybody else's problem."""
    with pytest.raises(PayloadError, match=r"^argument 'ids'"):
        ValueCodec(set[int], "argument 'ids'").write("neither a set nor numbers")


def test_json_of_another_shape() -> None:
    """It is refused where it is read."""
    with pytest.raises(PayloadError, match=r"^argument 'ids'"):
        ValueCodec(set[int], "argument 'ids'").restore({"no": "set"})
