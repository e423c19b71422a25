"""Python values that can travel as JSON, and values that are refused."""

import array
import sys
import traceback
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    PositiveInt,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    Tag,
    computed_field,
    field_serializer,
    field_validator,
)
from typing_extensions import TypedDict

from aiostreamq import Context, PayloadError
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.task import TaskSpec
from aiostreamq.model.values.equality import difference
from aiostreamq.model.values.masking import MASK, masked
from tests.support.case_ids import short

T = TypeVar("T")


def spec_of(function: Callable[..., object]) -> TaskSpec:
    """Read *function* as `@queue.task` does."""
    return TaskSpec("t", signature=TaskSignature("t", function, Context))


def spec_for(annotation: object) -> TaskSpec:
    """Return a task that takes one value of an annotation, and returns one."""

    def same(it: object) -> object:
        return it

    same.__annotations__ = {"it": annotation, "return": annotation}
    return spec_of(same)


def sent(annotation: object, value: object) -> object:
    """Return what a worker gets for an argument."""
    spec = spec_for(annotation)
    assert spec.signature is not None
    told = decode_envelope(write_call(spec, (value,), {}, {}))
    args, _ = spec.signature.restore_arguments(told.args, told.kwargs)
    return args[0]


def returned(annotation: object, value: object) -> object:
    """Return what a client gets for a result."""
    signature = spec_for(annotation).signature
    assert signature is not None
    return signature.restore_result(orjson.loads(signature.write_result(value)))


WAYS = pytest.mark.parametrize("way", [sent, returned])
Way = Callable[[object, object], object]


class Colour(Enum):
    """An enum."""

    RED = "red"


class Place(Enum):
    """An enum of tuples."""

    ORIGIN = (0, 0)


class Mood(StrEnum):
    """An enum of strings."""

    FINE = "fine"


class Size(IntEnum):
    """An enum of numbers."""

    SMALL = 1


@dataclass
class Metres:
    """A dataclass."""

    n: int


@dataclass
class Feet:
    """Another of the same fields."""

    n: int


@dataclass
class Deep(Metres):
    """One with a field more than its parent."""

    more: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Slotted:
    """One without a __dict__."""

    at: datetime
    tags: frozenset[str] = frozenset()


@dataclass(eq=False)
class ByIdentity:
    """One that equals nothing but itself."""

    on: date


@dataclass
class Made:
    """One that is made of what it does not keep."""

    n: int
    factor: InitVar[int]
    product: int = field(init=False, default=0)

    def __post_init__(self, factor: int) -> None:
        """Multiply."""
        self.product = self.n * factor


@dataclass
class Underscored:
    """One with a field that is nobody's business."""

    n: int
    _hidden: int = 0
    when: date = date(2024, 1, 1)


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: date


class Movie(TypedDict, total=False):
    """A typed dict."""

    name: str
    on: date


class Model(BaseModel):
    """A pydantic model."""

    x: int


class Other(BaseModel):
    """Another."""

    y: int


class More(Model):
    """One that has a field more."""

    y: int = 0


class Aliased(BaseModel):
    """One with names for the outside."""

    order_id: int = Field(alias="orderId")
    one: str = Field("", validation_alias=AliasChoices("one_a", "one_b"))
    other: str = Field("", serialization_alias="Other")


class ByAlias(BaseModel):
    """One that is written by its aliases."""

    model_config = ConfigDict(serialize_by_alias=True)
    value: str = Field(serialization_alias="V")


class Swapped(BaseModel):
    """One whose aliases are the names of its other fields."""

    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Computed(BaseModel):
    """One that forbids what it writes."""

    model_config = ConfigDict(extra="forbid")
    n: int

    @computed_field
    @property
    def double(self) -> int:
        """Twice as much."""
        return 2 * self.n

    @cached_property
    def triple(self) -> int:
        """Three times as much."""
        return 3 * self.n


class Open(BaseModel):
    """One that takes anything."""

    model_config = ConfigDict(extra="allow")
    n: int


class Private(BaseModel):
    """One that keeps something to itself."""

    n: int
    _note: str = PrivateAttr("")


class Excluding(BaseModel):
    """One that does not write all of itself."""

    n: int
    hidden: str = Field("", exclude=True)


class Printing(BaseModel):
    """One that writes a field as people read it."""

    price: Decimal

    @field_serializer("price")
    def printed(self, price: Decimal) -> str:
        """Add a currency."""
        return f"{price} EUR"


class Trimming(BaseModel):
    """One that changes what it is given."""

    text: str

    @field_validator("text")
    @classmethod
    def trimmed(cls, text: str) -> str:
        """Cut the last letter off."""
        return text[:-1]


class Jsoned(BaseModel):
    """One that has JSON within JSON."""

    inner: Json[list[int]]


class Cat(BaseModel):
    """An animal."""

    kind: Literal["cat"] = "cat"
    name: str


class Dog(BaseModel):
    """Another of the same fields."""

    kind: Literal["dog"] = "dog"
    name: str


class Box(BaseModel, Generic[T]):
    """A generic one."""

    inner: T


class Login(BaseModel):
    """One with secrets."""

    user: str
    password: SecretStr
    keys: dict[str, list[SecretBytes]] = {}


class Revealing(BaseModel):
    """One that writes its secret itself."""

    token: SecretStr

    @field_serializer("token", when_used="json")
    def shown(self, token: SecretStr) -> str:
        """Show it."""
        return token.get_secret_value()


@dataclass
class Safe:
    """A dataclass that holds secrets."""

    code: SecretBytes
    login: Login | None = None


def with_note(note: str) -> Private:
    """Return a model with a private attribute."""
    made = Private(n=1)
    setattr(made, "_note", note)  # noqa: B010  # it is private
    return made


def looked_at(n: int) -> Computed:
    """Return a model that has kept a property."""
    made = Computed(n=n)
    assert made.triple == 3 * n
    return made


def kind_of(animal: object) -> object:
    """Return the kind of an animal, or of its JSON."""
    return cast("Any", animal)["kind"] if isinstance(animal, dict) else cast("Any", animal).kind


Tagged = Annotated[Cat | Dog, Field(discriminator="kind")]
ByKind = Annotated[
    Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")],
    Discriminator(kind_of),
]
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
TWICE = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

ARRIVES: list[tuple[object, object]] = [
    (datetime, NOON),
    (datetime, TWICE),
    (datetime | str, NOON),
    (datetime | str, "noon"),
    (AwareDatetime, NOON),
    (Colour, Colour.RED),
    (Mood | int, Mood.FINE),
    (Literal[Mood.FINE], Mood.FINE),
    (Literal["a"] | date, "a"),
    (PositiveInt, 1),
    (Annotated[str, AfterValidator(str.upper)], "A"),
    (Slotted, Slotted(NOON, frozenset({"a"}))),
    (Deep, Deep(1, Decimal("1.10"))),
    (Metres | date, Metres(3)),
    (ByIdentity, ByIdentity(date(2024, 1, 1))),
    (Pair, Pair(1, date(2024, 1, 1))),
    (Movie, {"on": date(2024, 1, 1), "name": "x"}),
    (Movie, {"name": "x"}),
    (Aliased, Aliased.model_validate({"orderId": 1, "one_a": "a", "other": "b"})),
    (ByAlias, ByAlias(value="a")),
    (Swapped, Swapped(b=1, a=2)),
    (list[Computed], [looked_at(2)]),
    (Open, Open.model_validate({"n": 1, "x": [1, "a"]})),
    (Private, Private(n=1)),
    (Excluding, Excluding.model_validate({"n": 1})),
    (Jsoned, Jsoned.model_validate({"inner": "[1]"})),
    (Tagged, Dog(name="a")),
    (ByKind, Dog(name="a")),
    (Box[date], Box[date](inner=date(2024, 1, 1))),
    (RootModel[list[date]], RootModel[list[date]]([date(2024, 1, 1)])),
    (dict[date, str], {date(2024, 1, 1): "a"}),
    (Iterable[bytes], [b"\xff"]),
    (Sequence[date], [date(2024, 1, 1)]),
    (Mapping[int, str], {1: "a"}),
    (deque[int], deque([1])),
    (OrderedDict[str, date], OrderedDict(b=date(2024, 1, 1), a=date(2024, 1, 2))),
    (Counter[str], Counter("aab")),
    (SecretStr, SecretStr("s")),
    (SecretStr, SecretStr("")),
    (SecretStr, SecretStr(MASK)),
    (SecretBytes, SecretBytes(b"\xff\x00")),
    (Secret[date], Secret[date](date(2024, 1, 1))),
    (Login, Login(user="u", password=SecretStr("p"), keys={"a/~": [SecretBytes(b"k")]})),
    (Revealing, Revealing(token=SecretStr("t"))),
    (Safe, Safe(SecretBytes(b"\xff"), Login(user="u", password=SecretStr("p")))),
    (set[SecretStr], {SecretStr("a"), SecretStr("b")}),
    (tuple[SecretStr, int], (SecretStr("a"), 1)),
    (Box[Secret[int]], Box[Secret[int]](inner=Secret[int](7))),
    (float | date, 1),
]  # fmt: skip


@WAYS
@pytest.mark.parametrize(("annotation", "value"), ARRIVES, ids=short)
def test_arrives(way: Way, annotation: object, value: object) -> None:
    """The value comes back the same, as argument and as result."""
    assert difference(value, way(annotation, value)) is None


REFUSED: list[tuple[object, object, str]] = [
    (set[int], [1], "expected set[int], and it is a list and would arrive as a set"),
    (set[int], "a", "expected set[int], got a str: Input should be a valid set"),
    (set[int] | list[int], {1}, "it is a set and would arrive as a list"),
    (str | datetime, NOON, "it is a datetime and would arrive as a str"),
    (Mood | str, Mood.FINE, "it is a Mood and would arrive as a str"),
    (Metres | Feet, Feet(1), "it is a Feet and would arrive as a Metres"),
    (dict[int | str, str], {1: "a"}, "[1] would be lost"),
    (PositiveInt, -1, "got an int: Input should be greater than 0"),
    (Annotated[str, AfterValidator(str.upper)], "a", "it would arrive changed"),
    (Literal[b"a"], b"a", "got a bytes that cannot be restored: Input should be b'a'"),
    (Model, Other(y=1), "expected Model, got an Other: Input should be a valid dictionary or"),
    (Model, More(x=1, y=2), "it is a More and would arrive as a Model"),
    (Model, None, "expected Model, got a NoneType"),
    (Metres, Deep(1), "it is a Deep and would arrive as a Metres"),
    (Metres | date, Metres(cast("int", "1")), ".n is a str and would arrive as an int"),
    (Made, Made(1, 2), "got a Made that cannot be restored: .factor: Field required"),
    (Model, Model.model_construct(x="a"), "cannot be restored: .x: Input should be a valid int"),
    (AwareDatetime, NOON.replace(tzinfo=None), "Input should have timezone info"),
    (Private, with_note("a"), "._note would arrive changed"),
    (Excluding, Excluding(n=1, hidden="a"), ".hidden would arrive changed"),
    (Printing, Printing(price=Decimal(1)), ".price: Input should be a valid decimal"),
    (Trimming, Trimming(text="abc"), ".text would arrive changed"),
    (Open, Open.model_validate({"n": 1, "x": NOON}), ".x is a datetime and would arrive as a str"),
    (dict[tuple[int, int], str], {(1, 2): "a"}, ".1,2.[key]: Input should be a valid array"),
    (SecretStr, "a", "expected SecretStr, got a str: wrap the secret, as in SecretStr(...)"),
    (list[SecretBytes], [b"a"], "got a list: wrap the secret, as in SecretBytes(...)"),
    (Place, Place.ORIGIN, "got a Place that cannot be restored"),
    (deque[int], deque([1], maxlen=2), "it would arrive changed"),
    (defaultdict[str, int], defaultdict(lambda: 0), "it would arrive changed"),
    (Sequence[date], (date(2024, 1, 1),), "it is a tuple and would arrive as a list"),
    (list[Decimal], [Decimal(1), "2"], "[1] is a str and would arrive as a Decimal"),
    (set[float], {float("nan")}, "[0] is NaN or infinite: send a string"),
    (Metres | date, Metres(2**64), ".n is an int beyond 64 bits: send a string"),
    (Box[Any], Box[Any](inner=NOON), ".inner is a datetime and would arrive as a str"),
    (Box[Any], Box[Any](inner=SecretStr("s")), ".inner is a SecretStr and would arrive as a str"),
    (tuple[Any, ...], (array.array("b", b"a"),), "got a tuple that cannot be restored"),
    # plain annotations
    (int, NOON, "expected int, and it is a datetime, which is not JSON"),
    (list[int], [Size.SMALL], "expected list[int], and [0] is a Size, which is not JSON"),
    (list[int], (1,), "expected list[int], and it is a tuple, which is not JSON"),
    (Sequence[list[int]], [(1,)], "and [0] is a tuple, which is not JSON"),
    (Any, UUID(int=1), "it is a UUID, which is not JSON: annotate"),
    (dict[str, Any], {"a": [b"a"]}, "['a'][0] is a bytes, which is not JSON: annotate"),
    (object, object(), "it is an object, which is not JSON: annotate"),
]


@WAYS
@pytest.mark.parametrize(("annotation", "value", "reason"), REFUSED, ids=short)
def test_refused(way: Way, annotation: object, value: object, reason: str) -> None:
    """What would arrive as something else is refused where it is sent, and all is named."""
    with pytest.raises(PayloadError) as refused:
        way(annotation, value)
    told = str(refused.value)
    assert ("argument 'it'" if way is sent else "the result of task 't'") in told
    assert reason in told
    assert "pydantic" not in told.lower()


def test_unannotated_tuple_arrives_as_a_list() -> None:
    """They arrive as lists; a parameter that says what it takes gets none."""

    def take(pairs: list[int], said: dict[str, Any], loose: Any = (), *rest: object) -> None: ...

    for name in ("loose", "rest"):
        del take.__annotations__[name]
    spec = spec_of(take)
    args = ([1], {"a": (1, (2,))}, (3,), (4,))
    told = decode_envelope(write_call(spec, args, {}, {}))
    assert told.args == [[1], {"a": [1, [2]]}, [3], [4]]
    with pytest.raises(PayloadError, match=r"'pairs' of task 't': expected list\[int\], and it "):
        write_call(spec, ((1,), {}), {}, {})


def test_who_is_to_blame() -> None:
    """The argument that cannot travel is named: by name, or by place if none is known."""

    def three(a: object, b: int, *c: str, ctx: Context, **d: int) -> None: ...

    spec, bad = spec_of(three), object()
    for args, kwargs, name in [
        ((bad, 1), {}, "a"),
        ((1, bad), {}, "b"),
        ((1, 2, "c", bad), {}, "c"),
        ((1, 1), {"e": bad}, "e"),
        ((1,), {"b": bad}, "b"),
        ((1,), {"b": 1, "e": (1,)}, "e"),
    ]:
        with pytest.raises(PayloadError, match=f"^(task 't', )?argument '{name}'"):
            write_call(spec, args, kwargs, {})
    with pytest.raises(PayloadError, match=r"'1': it is a date, .* knows the task only by name"):
        write_call(TaskSpec("far"), (1, date(2024, 1, 1)), {}, {})


@pytest.mark.parametrize(
    "raises", [KeyError("k"), RuntimeError(), RecursionError(), ZeroDivisionError("z")], ids=short
)
def test_user_code_that_raises(raises: Exception) -> None:
    """What a validator raises is a refusal, too."""

    def check(_: object) -> object:
        raise raises

    with pytest.raises(PayloadError, match=f"argument 'it'.*{type(raises).__name__}"):
        sent(Annotated[int, AfterValidator(check)], 1)


def test_messages_hold_no_values() -> None:
    """An error of a worker ends in logs: it says what is wrong without the value."""
    signature = spec_for(Login).signature
    assert signature is not None
    bad = "hunter9".replace("9", "2")  # not as the source has it, which a traceback shows
    with pytest.raises(PayloadError) as refused:
        signature.restore_arguments([{"user": [bad], "password": {"x": bad}}], {})
    assert str(refused.value).startswith("argument 'it' of task 't': expected Login: .user: Input")
    assert bad not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(PayloadError) as refused:
        sent(Annotated[str, Field(max_length=3)], bad)
    assert bad not in "".join(traceback.format_exception(refused.value))


def test_places_of_secrets() -> None:
    """The envelope lists them, wherever the call has them, and whoever reads it masks them."""

    def enter(a: int, login: Login, *more: Safe, token: SecretStr, **others: SecretStr) -> None: ...

    login = Login(user="u", password=SecretStr("p"), keys={"a/~": [SecretBytes(b"k")]})
    safe = Safe(SecretBytes(b"\xff"), login)
    words = {"token": SecretStr("t"), "other": SecretStr("o")}
    written = write_call(spec_of(enter), (1, login, safe), words, {"timeout": 1.0})
    told = orjson.loads(written)
    assert told["secrets"] == [
        "/args/1/password", "/args/1/keys/a~1~0/0", "/args/2/code", "/args/2/login/password",
        "/args/2/login/keys/a~1~0/0", "/kwargs/token", "/kwargs/other",
    ]  # fmt: skip
    assert told["timeout"] == 1.0
    assert told["args"][1] == {"user": "u", "password": "p", "keys": {"a/~": ["k"]}}
    seen = orjson.loads(masked(written))
    assert seen["args"][1] == {"user": "u", "password": MASK, "keys": {"a/~": [MASK]}}
    assert seen["args"][2]["code"] == MASK
    assert seen["kwargs"] == {"token": MASK, "other": MASK}


def test_a_secret_that_its_model_reveals() -> None:
    """It is listed as well, and so is all of what is written in a shape of its own."""
    told = orjson.loads(write_call(spec_for(Revealing), (Revealing(token=SecretStr("t")),), {}, {}))
    assert told["secrets"] == ["/args/0/token"]


def test_old_envelopes() -> None:
    """What 0.1 has written is read: by names, by aliases where they were asked for."""
    for annotation, written, value in [
        (Aliased, {"orderId": 1}, Aliased.model_validate({"orderId": 1})),
        (Open, {"n": 1}, Open(n=1)),
        (timedelta, "P3D", timedelta(days=3)),
        (time, "12:00:00", time(12)),
    ]:
        signature = spec_for(annotation).signature
        assert signature is not None
        args, _ = signature.restore_arguments([written], {})
        assert args == (value,)


def test_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain annotations do without it, and are as strict."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert sent(dict[str, list[int]], {"a": [1]}) == {"a": [1]}
    with pytest.raises(PayloadError, match="it is a datetime, which is not JSON"):
        sent(int, NOON)
