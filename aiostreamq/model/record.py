"""`record`: frozen dataclasses that are quick to define."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from reprlib import recursive_repr
from typing import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")


class _FactoryDefault:
    """The default of a parameter whose field has a factory."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _FactoryDefault()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make of a class what `dataclass(frozen=True, slots=True)` does, in a tenth of the time.

    A dataclass compiles every method for each class, which was the largest part of the time to
    import aiostreamq. Here only `__init__` is compiled, when the first instance is made, and all
    records share the others.
    """
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    # A dataclass that inherits from this one reads them, and so does pydantic.
    params = vars(made)["__dataclass_params__"]
    params.init = params.repr = params.eq = params.frozen = True
    methods: dict[str, object] = {
        "__init__": _LateInit(made),
        "__repr__": _repr,
        "__eq__": _eq,
        "__hash__": _hash,
        "__setattr__": _setattr,
        "__delattr__": _delattr,
        "__getstate__": _getstate,
        "__setstate__": _setstate,
    }
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(made, name, method)
    return made


class _LateInit:
    """The `__init__` of a record until its first use."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type[Any]) -> Callable[..., None]:
        self._cls.__init__ = init = _init_of(self._cls)
        return cast("Callable[..., None]", init.__get__(instance, owner))


def _init_of(cls: type[Any]) -> Callable[..., None]:
    """Return `__init__`, compiled, as it runs for every instance."""
    given = [each for each in fields(cls) if each.init]  # `__post_init__` sets the others
    outer: dict[str, object] = {"_FACTORY": _FACTORY}
    body = ["pass"]
    defaults: list[object] = []
    for each in given:
        name = value = each.name
        outer[f"_set_{name}"] = getattr(cls, name).__set__  # of its slot, as `__setattr__` refuses
        if each.default_factory is not MISSING:
            outer[f"_make_{name}"] = each.default_factory
            value = f"_make_{name}() if {name} is _FACTORY else {name}"
            defaults.append(_FACTORY)
        elif each.default is not MISSING:
            defaults.append(each.default)
        body.append(f"_set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    source = [
        f"def make({', '.join(outer)}):",
        f" def __init__({', '.join(['self', *(each.name for each in given)])}):",
        *(f"  {line}" for line in body),
        " return __init__",
    ]
    namespace: dict[str, Any] = {}
    names_of_module = vars(sys.modules[cls.__module__])
    exec("\n".join(source), names_of_module, namespace)  # noqa: S102  # names of fields only
    init = namespace["make"](**outer)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {**{each.name: each.type for each in given}, "return": None}
    init.__defaults__ = tuple(defaults)
    return cast("Callable[..., None]", init)


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _compared(self: Any) -> tuple[object, ...]:
    return tuple(getattr(self, each.name) for each in fields(self) if each.compare)


def _eq(self: object, other: object) -> bool:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: object) -> int:
    return hash(_compared(self))


def _is_frozen(self: object, name: str) -> bool:
    """Say whether a name may not be set. A subclass may set others than the fields."""
    fields_of = "__dataclass_fields__"
    return fields_of in vars(type(self)) or name in getattr(type(self), fields_of)


def _setattr(self: object, name: str, value: object) -> None:
    if _is_frozen(self, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _delattr(self: object, name: str) -> None:
    if _is_frozen(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _getstate(self: Any) -> list[object]:
    return [getattr(self, each.name) for each in fields(self)]


def _setstate(self: Any, state: Iterable[object]) -> None:
    for each, value in zip(fields(self), state, strict=False):
        object.__setattr__(self, each.name, value)
