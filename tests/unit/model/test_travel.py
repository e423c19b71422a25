"""Values on their whole way: written by a producer, read by a worker, and back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aiostreamq import Context, PayloadError
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.outcome import decode_outcome, encode_done
from aiostreamq.model.task import TaskSpec
from tests.support.case_ids import short


class Colour(Enum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    """An enum of numbers."""

    SMALL = 1


class Mood(StrEnum):
    """An enum of strings."""

    FINE = "fine"


@dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: float
    colour: Colour = Colour.RED


@dataclass
class Parcel:
    """A dataclass that holds about everything."""

    id: UUID
    at: datetime
    price: Decimal
    route: list[Point] = field(default_factory=list[Point])
    tags: set[str] = field(default_factory=set[str])
    seal: bytes = b""
    within: timedelta | None = None


class Model(BaseModel):
    """A pydantic model."""

    when: datetime
    point: Point
    prices: dict[str, Decimal] = {}


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: date


@dataclass
class Sealed:
    """A dataclass that holds bytes."""

    seal: bytes


def signature_for(annotation: object) -> TaskSignature:
    """Make the signature of a task that takes one such value and returns it."""

    def same(value: object) -> object:
        return value

    same.__annotations__ = {"value": annotation, "return": annotation}
    return TaskSignature("same", same, Context)


def written(signature: TaskSignature, value: object) -> bytes:
    """Return the envelope of a call with *value*."""
    return write_call(TaskSpec("same", signature=signature), (value,), {}, {})


def sent(annotation: object, value: object) -> object:
    """Return what a worker gets for an argument."""
    signature = signature_for(annotation)
    envelope = decode_envelope(written(signature, value))
    args, kwargs = signature.restore_arguments(envelope.args, envelope.kwargs)
    assert not kwargs
    return args[0]


def returned(annotation: object, value: object) -> object:
    """Return what a client gets for a result."""
    signature = signature_for(annotation)
    outcome = decode_outcome(encode_done(b'"same"', 1, signature.write_result(value)))
    return signature.restore_result(outcome.value)


WAYS = pytest.mark.parametrize("way", [sent, returned])
Way = Callable[[object, object], object]

TZ = timezone(timedelta(hours=5, minutes=45))
MOMENT = datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=TZ)
PARCEL = Parcel(
    UUID(int=9), MOMENT, Decimal("9.90"), [Point(1.5), Point(-2.0, Colour.BLUE)], {"a", "b"},
    b"wax", timedelta(days=-3, microseconds=7),
)  # fmt: skip

RICH: list[tuple[object, object]] = [
    (datetime, MOMENT),
    (datetime, MOMENT.replace(tzinfo=None)),
    (date, date(1, 1, 1)),
    (time, time(23, 59, 58, 7)),
    (timedelta, timedelta(days=400, seconds=1, microseconds=1)),
    (timedelta, timedelta(microseconds=-1)),
    (UUID, UUID(int=2**127)),
    (Decimal, Decimal("-0.10000000000000000000000000000000001")),
    (Colour, Colour.BLUE),
    (Size, Size.SMALL),
    (Mood, Mood.FINE),
    (bytes, bytes(range(256))),
    (set[int], {1, 2, 3}),
    (frozenset[UUID], frozenset({UUID(int=1)})),
    (tuple[int, str], (1, "a")),
    (tuple[date, ...], (date(2024, 1, 1),) * 3),
    (Point, Point(0.1, Colour.BLUE)),
    (Pair, Pair(1, date(2024, 1, 1))),
    (Model, Model(when=MOMENT, point=Point(1.0), prices={"a": Decimal("1.10")})),
    (date | None, None),
    (date | None, date(2024, 1, 1)),
    (Annotated[set[int], "ids"], {1}),
    (dict[str, list[date]], {"a": [date(2024, 1, 1)]}),
    (dict[int, str], {1: "a"}),
    (list[Parcel], [PARCEL]),
    (Parcel, PARCEL),
    (dict[str, bytes], {"a": b"\xff"}),
    (Sealed, Sealed(b"\x00\xff")),
    (list[Sealed], [Sealed(b"\xff")]),
    (tuple[int, ...], (2**64 - 1, -(2**63))),
]  # fmt: skip


@WAYS
@pytest.mark.parametrize(("annotation", "value"), RICH, ids=short)
def test_rich_values(way: Way, annotation: object, value: object) -> None:
    """They come back equal and of the same type, as argument and as result."""
    found = way(annotation, value)
    assert found == value
    assert type(found) is type(value)


RANDOM: list[tuple[object, st.SearchStrategy[object]]] = [
    (datetime, st.datetimes(timezones=st.sampled_from([None, TZ, timezone.utc]))),  # noqa: UP017
    (date, st.dates()),
    (UUID, st.uuids()),
    (timedelta, st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (bytes, st.binary()),
    (set[int], st.sets(st.integers(-(2**63), 2**64 - 1))),
    (frozenset[str], st.frozensets(st.text(st.characters(exclude_categories=["Cs"])))),
    (tuple[float, ...], st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple)),
    (Point, st.builds(Point, st.floats(allow_nan=False, allow_infinity=False))),
]


@WAYS
@pytest.mark.parametrize(
    ("annotation", "values"), RANDOM, ids=[short(annotation) for annotation, _ in RANDOM]
)
def test_random_rich_values(
    way: Way, annotation: object, values: st.SearchStrategy[object]
) -> None:
    """Nothing is lost on the way: no microsecond, no digit, no byte."""

    @given(values)
    def arrives(value: object) -> None:
        assert way(annotation, value) == value

    arrives()


@WAYS
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, float("nan")),
        (list[float], [1.0, float("inf")]),
        (dict[str, float], {"a": float("-inf")}),
        (tuple[float, ...], (1.0, float("nan"))),
        (Point, Point(float("inf"))),
        (list[Point], [Point(1.0), Point(float("nan"))]),
        (Model, Model(when=MOMENT, point=Point(float("nan")))),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("Infinity")),
    ],
    ids=short,
)
def test_no_number(way: Way, annotation: object, value: object) -> None:
    """NaN and infinities are refused where they are written, however deep they are."""
    with pytest.raises(PayloadError):
        writes(way, annotation, value)


@WAYS
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**64),
        (list[int], [-(2**63) - 1]),
        (tuple[int, ...], (2**64,)),
        (set[int], {2**70}),
        (dict[int, int], {1: 2**70}),
        (int | date, 2**70),
    ],
    ids=short,
)
def test_ints_beyond_64_bits(way: Way, annotation: object, value: object) -> None:
    """They are refused where they are written: as floats they would come back changed."""
    with pytest.raises(PayloadError):
        writes(way, annotation, value)


def writes(way: Way, annotation: object, value: object) -> None:
    """Go only the first half of the way."""
    signature = signature_for(annotation)
    if way is sent:
        written(signature, value)
    else:
        signature.write_result(value)
