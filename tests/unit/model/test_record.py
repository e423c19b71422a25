"""`record` makes what `dataclass(frozen=True, slots=True)` makes."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, astuple, dataclass, field, fields, replace
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from aiostreamq.model.record import record


def plain() -> type[Any]:
    """Return a class with two fields."""

    class Plain:
        """A point."""

        x: int
        y: int

    return Plain


def defaults() -> type[Any]:
    """Return a class with defaults, one of a factory."""

    class Defaults:
        """With defaults."""

        x: int
        y: "int | None" = None
        tags: list[str] = field(default_factory=list[str])

    return Defaults


def hidden() -> type[Any]:
    """Return a class with fields left out of its text or its comparison."""

    class Hidden:
        """With fields that are left out."""

        x: int
        secret: str = field(default="hush", repr=False)
        seen: int = field(default=0, compare=False)

    return Hidden


def derived() -> type[Any]:
    """Return a class with a field that it calculates."""

    class Derived:
        """With a field that it calculates."""

        x: int
        double: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "double", 2 * self.x)

    return Derived


def own() -> type[Any]:
    """Return a class with methods of its own."""

    class Own:
        """With methods of its own."""

        x: int

        def __init__(self, x: int) -> None:
            object.__setattr__(self, "x", x + 1)

        def __repr__(self) -> str:
            return "own"

    return Own


def empty() -> type[Any]:
    """Return a class with no fields."""

    class Empty:
        """Without fields."""

    return Empty


# Functions, as making a dataclass of a class changes the class.
SHAPES: list[tuple[Callable[[], type[Any]], tuple[object, ...]]] = [
    (plain, (1, 2)),
    (defaults, (1,)),
    (defaults, (1, 2, ["a"])),
    (hidden, (1, "s", 3)),
    (derived, (4,)),
    (own, (1,)),
    (empty, ()),
]


def outcome(call: Callable[[], object]) -> object:
    """Return what a call returns, or the kind and text of what it raises."""
    try:
        return call()
    except (TypeError, AttributeError) as error:
        return type(error), str(error)


NAMES = [f"{shape.__name__}-{len(args)}" for shape, args in SHAPES]

QUESTIONS: list[Callable[[Any, tuple[object, ...]], object]] = [
    lambda kind, _: kind.__name__,
    lambda kind, _: kind.__qualname__,
    lambda kind, _: kind.__doc__,
    lambda kind, _: kind.__slots__,
    lambda kind, _: kind.__match_args__,
    lambda kind, _: str(inspect.signature(kind)),
    lambda kind, _: get_type_hints(kind),
    lambda kind, _: get_type_hints(kind.__init__),
    lambda kind, _: [(each.name, each.init, each.repr, each.compare) for each in fields(kind)],
    lambda kind, _: repr(kind.__dataclass_params__),
    lambda kind, args: repr(kind(*args)),
    lambda kind, args: hash(kind(*args)),
    lambda kind, args: kind(*args) == kind(*args),
    lambda kind, args: kind(*args) == object(),
    lambda kind, args: kind(*args) == replace(kind(*args), x=9),
    lambda kind, args: kind(*args).__getstate__(),
    lambda kind, args: asdict(kind(*args)),
    lambda kind, args: astuple(kind(*args)),
    lambda kind, args: repr(copy.copy(kind(*args))),
    lambda kind, args: repr(copy.deepcopy(kind(*args))),
    lambda kind, args: hasattr(kind(*args), "__dict__"),
    lambda kind, _: kind(1, 2, 3, 4, 5),
    lambda kind, _: kind(unknown=1),
    lambda kind, args: TypeAdapter(kind).dump_json(kind(*args)),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
@pytest.mark.parametrize(("shape", "args"), SHAPES, ids=NAMES)
def test_record_answers_as_dataclass(
    shape: Callable[[], type[Any]], args: tuple[object, ...], question: Callable[..., object]
) -> None:
    """A record and a dataclass give the same answer, or raise the same error."""
    mine, theirs = record(shape()), dataclass(frozen=True, slots=True)(shape())
    assert outcome(lambda: question(mine, args)) == outcome(lambda: question(theirs, args))


@pytest.mark.parametrize(("shape", "args"), SHAPES, ids=NAMES)
@pytest.mark.parametrize("name", ["x", "double", "other"])
def test_record_is_frozen(
    shape: Callable[[], type[Any]], args: tuple[object, ...], name: str
) -> None:
    """Neither its fields nor other names can be set or deleted."""
    kept = record(shape())(*args)
    for change in (lambda: setattr(kept, name, 2), lambda: delattr(kept, name)):
        with pytest.raises(FrozenInstanceError, match=f"field '{name}'"):
            change()


def test_subclass_may_set_names_of_its_own() -> None:
    """A class that inherits from a record has frozen fields, and others."""
    point = record(plain())

    class Named(point):
        pass

    named = Named(1, 2)
    named.name = "here"
    del named.name
    for change in (lambda: setattr(named, "x", 5), lambda: delattr(named, "x")):
        with pytest.raises(FrozenInstanceError):
            change()


@record
class Kept:
    """A record at module level, which pickle finds."""

    x: int
    more: "Kept | None" = None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_record_is_pickled(protocol: int) -> None:
    """Pickling calls no `__init__`, as with dataclasses."""
    kept = Kept(1, Kept(2))
    assert pickle.loads(pickle.dumps(kept, protocol)) == kept


def test_repr_of_a_record_that_holds_itself_ends() -> None:
    """A circle is shown as three dots."""
    kept = Kept(1)
    object.__setattr__(kept, "more", kept)
    assert repr(kept) == "Kept(x=1, more=...)"
