"""Annotations and values made at random: what was sent arrives, or is refused by name."""

import dataclasses
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal, NamedTuple, Union, cast
from uuid import UUID

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    PositiveInt,
    RootModel,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    create_model,
)

from aiostreamq import Context, PayloadError
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.task import TaskSpec
from aiostreamq.model.values.masking import masked
from tests.support.random_examples import scaled


class Colour(Enum):
    """An enum."""

    RED = "red"
    BLUE = 2


class Mood(StrEnum):
    """An enum of strings."""

    FINE = "fine"


class Size(IntEnum):
    """An enum of numbers."""

    SMALL = 1


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: date


@dataclasses.dataclass(frozen=True)
class Metres:
    """A dataclass."""

    n: int


@dataclasses.dataclass(frozen=True)
class Feet:
    """Another of the same fields."""

    n: int


class Kind(NamedTuple):
    """An annotation, and values of it."""

    annotation: Any
    values: st.SearchStrategy[object]
    is_hashable: bool = False
    is_certain: bool = True  #: whether all of its values arrive


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
INTS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-5, minutes=-30))])
DATES = st.dates()

LEAVES = [
    Kind(int, INTS, is_hashable=True),
    Kind(str, TEXT, is_hashable=True),
    Kind(bool, st.booleans(), is_hashable=True),
    Kind(float, FLOATS),
    Kind(None, st.none(), is_hashable=True),
    Kind(date, DATES, is_hashable=True),
    Kind(datetime, st.datetimes(timezones=ZONES), is_hashable=True),
    Kind(time, st.times()),
    Kind(timedelta, st.timedeltas(timedelta(days=-9999), timedelta(days=9999))),
    Kind(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Kind(UUID, st.uuids(), is_hashable=True),
    Kind(bytes, st.binary(max_size=5), is_hashable=True),
    Kind(Colour, st.sampled_from(Colour), is_hashable=True),
    Kind(Mood, st.sampled_from(Mood)),
    Kind(Size, st.sampled_from(Size)),
    Kind(Metres, st.builds(Metres, INTS)),
    Kind(Feet, st.builds(Feet, INTS)),
    Kind(Pair, st.builds(Pair, INTS, DATES)),
    Kind(PositiveInt, st.integers(1, 2**63)),
    Kind(SecretStr, TEXT.map(lambda text: SecretStr(f"s3cr3t{text}"))),
    Kind(SecretBytes, st.binary(max_size=5).map(lambda raw: SecretBytes(b"s3cr3t" + raw))),
    Kind(Literal["a", 1], st.sampled_from(["a", 1])),
    Kind(Literal[Mood.FINE], st.just(Mood.FINE)),
    Kind(object, st.none() | TEXT | DATES | st.uuids() | st.just((1,)), is_certain=False),
    Kind(Any, st.none() | INTS | FLOATS | TEXT.map(SecretStr), is_certain=False),
    Kind(float, st.just(math.nan), is_certain=False),
    Kind(int, st.just(2**64), is_certain=False),
    Kind(PositiveInt, st.just(-1), is_certain=False),
]
HASHABLE = [leaf for leaf in LEAVES if leaf.is_hashable]


# What JSON has as the key of an object, or pydantic can read from one.
KEYS = [leaf for leaf in HASHABLE if leaf.annotation in {int, str, date, datetime, UUID, bytes}]


def in_list(inner: Kind) -> Kind:
    """Put a kind into a list."""
    return inner._replace(
        annotation=list[inner.annotation],
        values=st.lists(inner.values, max_size=3),
        is_hashable=False,
    )


def in_tuple(inner: Kind) -> Kind:
    """Put a kind into a tuple of any length."""
    values = st.lists(inner.values, max_size=3).map(tuple)
    return inner._replace(annotation=tuple[inner.annotation, ...], values=values, is_hashable=False)


def in_pair(both: tuple[Kind, Kind]) -> Kind:
    """Put two kinds into a tuple."""
    one, other = both
    return Kind(
        tuple[one.annotation, other.annotation],
        st.tuples(one.values, other.values),
        is_certain=one.is_certain and other.is_certain,
    )


def in_set(inner: Kind) -> Kind:
    """Put a kind into a set."""
    return Kind(set[inner.annotation], st.sets(inner.values, max_size=3))


def in_dict(both: tuple[Kind, Kind]) -> Kind:
    """Make a kind the values of a dict, and another its keys."""
    key, inner = both
    return Kind(
        dict[key.annotation, inner.annotation],
        st.dictionaries(key.values, inner.values, max_size=3),
        is_certain=inner.is_certain and key in KEYS,
    )


def in_dataclass(inner: Kind) -> Kind:
    """Put a kind into a dataclass."""
    cls = dataclasses.make_dataclass("Made", [("n", int), ("inner", inner.annotation)])
    return Kind(cls, st.builds(cls, INTS, inner.values), is_certain=inner.is_certain)


def in_model(inner: Kind) -> Kind:
    """Put a kind into a pydantic model."""
    cls = cast("Any", create_model)("Made", n=int, inner=inner.annotation)
    # Not validated, so that it may hold what it should not.
    values = st.builds(cls.model_construct, n=INTS, inner=inner.values)
    return Kind(cls, values, is_certain=inner.is_certain and not holds_bytes(inner))


def in_root_model(inner: Kind) -> Kind:
    """Put a kind into a model that is nothing else."""
    cls: Any = RootModel[inner.annotation]
    values = st.builds(cls.model_construct, inner.values)
    return Kind(cls, values, is_certain=inner.is_certain and not holds_bytes(inner))


def holds_bytes(kind: Kind) -> bool:
    """Say whether there may be bytes in it: those of a model are UTF-8, unless it says more."""
    return "ytes" in repr(TypeAdapter(kind.annotation).core_schema)


def or_none(inner: Kind) -> Kind:
    """Let a kind be left out."""
    joined = Union[inner.annotation, None]  # noqa: UP007  # made at run time
    # The JSON of a model that is nothing else does not tell it from what is in it.
    is_certain = inner.is_certain and not getattr(
        inner.annotation, "__pydantic_root_model__", False
    )
    return Kind(joined, inner.values | st.none(), is_certain=is_certain)


def either(both: tuple[Kind, Kind]) -> Kind:
    """Join two kinds."""
    one, other = both
    joined = Union[one.annotation, other.annotation]  # noqa: UP007  # made at run time
    return Kind(joined, one.values | other.values, is_certain=False)


def larger(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    """Make kinds out of others."""
    two = st.tuples(inner, inner)
    single = [in_list, in_tuple, in_dataclass, in_model, in_root_model, or_none]
    return st.one_of(
        *(inner.map(make) for make in single),
        st.sampled_from(HASHABLE).map(in_set),
        st.tuples(st.sampled_from(HASHABLE), inner).map(in_dict),
        two.map(in_pair),
        two.map(either),
    )


kinds = st.recursive(st.sampled_from(LEAVES), larger, max_leaves=4)
ways = st.sampled_from(["argument", "result"])


def is_same(sent: object, arrived: object) -> bool:
    """Say whether two values are equal and of the same type, in all their parts."""
    kind, other = cast("tuple[object, object]", (type(sent), type(arrived)))
    if kind is tuple and other is list:  # no annotation says `tuple`
        arrived, other = tuple(cast("list[object]", arrived)), tuple
    if kind is int and other is float:
        return sent == arrived
    if kind is not other:
        return False
    if isinstance(sent, list | tuple):
        parts, others = cast("tuple[list[object], list[object]]", (sent, arrived))
        return len(parts) == len(others) and all(map(is_same, parts, others))
    if isinstance(sent, dict):
        named, found = cast("tuple[dict[object, object], ...]", (sent, arrived))
        return is_same(list(named), list(found)) and is_same([*named.values()], [*found.values()])
    if isinstance(sent, set):
        ours, theirs = cast("tuple[set[object], ...]", (sent, arrived))
        return {(type(one), one) for one in ours} == {(type(one), one) for one in theirs}
    if dataclasses.is_dataclass(sent) or isinstance(sent, BaseModel):
        return is_same(vars(sent), vars(arrived))
    if isinstance(sent, datetime) and sent.utcoffset() != cast("datetime", arrived).utcoffset():
        return False
    return sent == arrived


def travel(way: str, annotation: object, value: object) -> object:
    """Return what arrives of a value; a client reads no secret on the way."""

    def same(it: object) -> object:
        return it

    same.__annotations__ = {"it": annotation, "return": annotation}
    signature = TaskSignature("t", same, Context)
    if way == "result":
        return signature.restore_result(orjson.loads(signature.write_result(value)))
    written = write_call(TaskSpec("t", signature=signature), (value,), {}, {})
    for secret in (b"s3cr3t", b"czNjcjN0"):  # the second is the base64 of the first
        assert secret not in masked(written)
    told = decode_envelope(written)
    return signature.restore_arguments(told.args, told.kwargs)[0][0]


def check_named(refusal: PayloadError, way: str) -> None:
    """Check that a refusal names what was refused."""
    assert ("argument 'it'" if way == "argument" else "the result of task 't'") in str(refusal)


THOROUGH = settings(
    max_examples=scaled(400),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@THOROUGH
@given(st.data(), kinds, ways)
def test_what_an_annotation_says(data: st.DataObject, kind: Kind, way: str) -> None:
    """A value of its annotation arrives the same. Only where it is vague may it be refused."""
    value = data.draw(kind.values)
    try:
        arrived = travel(way, kind.annotation, value)
    except PayloadError as refusal:
        assert not kind.is_certain, refusal  # noqa: PT017  # the other end is as good
        check_named(refusal, way)
    else:
        assert is_same(value, arrived)


@THOROUGH
@given(st.data(), kinds, kinds, ways)
def test_values_of_another_kind(data: st.DataObject, kind: Kind, other: Kind, way: str) -> None:
    """A value of another annotation arrives the same as well, or is refused by name."""
    value = data.draw(other.values)
    try:
        arrived = travel(way, kind.annotation, value)
    except PayloadError as refusal:
        check_named(refusal, way)
    else:
        assert is_same(value, arrived)
