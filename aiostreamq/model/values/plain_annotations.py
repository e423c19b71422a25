"""Annotations: whether plain JSON can represent their values."""

import re
import types
from collections import abc
from typing import (
    Annotated,
    Any,
    Literal,
    LiteralString,
    Never,
    NewType,
    NoReturn,
    NotRequired,
    ParamSpecArgs,
    ParamSpecKwargs,
    Required,
    TypeVar,
    Union,
    Unpack,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

_SCALARS = frozenset({str, int, float, bool, type(None), None, LiteralString, NoReturn, Never})
#: promise only iteration, so that their values are sent as lists
_ITERABLES = frozenset({abc.Iterable, abc.Collection, abc.Container, abc.Reversible})
_LISTS = frozenset({list, abc.Sequence, abc.MutableSequence, *_ITERABLES})
_DICTS = frozenset({dict, abc.Mapping, abc.MutableMapping})
# Without arguments, these do not describe the items of their values.
_OPEN = frozenset({object, Any, *_LISTS, *_DICTS})
_OPEN_KINDS = TypeVar | ParamSpecArgs | ParamSpecKwargs | str

# Names of modules, except in strings.
_MODULES = r"""(?<!['"\w.])(?:\w+\.)+(?=[A-Za-z_]\w*(?![\w.]*['"]))"""

_LITERALS = frozenset({str, int, bool, type(None)})
# Packages whose metadata in Annotated[...] checks or changes values.
_CHECKERS = frozenset({"annotated_types", "pydantic", "pydantic_core"})


def is_plain(annotation: object) -> bool:
    """Whether values of this annotation survive JSON unchanged.

    >>> is_plain(dict[str, list[int]]), is_plain(set[int])
    (True, False)
    """
    return _is_plain(annotation, frozenset())


def is_open(annotation: object) -> bool:
    """Whether a plain annotation leaves the type of some values open.

    >>> is_open(list[int]), is_open(dict[str, Any])
    (False, True)
    """
    return _is_open(annotation, frozenset())


def depth_of(annotation: object) -> int:
    """Return how deeply the lists and dicts of a plain annotation are nested.

    >>> depth_of(int), depth_of(list[dict[str, int]] | None)
    (0, 2)
    """
    return _depth_of(annotation, frozenset())


def carrier_of(annotation: object) -> object:
    """Return an equivalent annotation whose values can be restored.

    >>> carrier_of(abc.Iterable[bytes])
    list[bytes]
    """
    inner = tuple(map(carrier_of, get_args(annotation)))
    origin = get_origin(annotation)
    if origin in _ITERABLES:
        return types.GenericAlias(list, inner)
    if origin is Union or origin is types.UnionType:
        return Union[inner]  # noqa: UP007  # made at run time
    return annotation


def shown(annotation: object) -> str:
    """Return an annotation as text, without modules.

    >>> shown(int), shown(list[abc.Sized]), shown(Annotated[int, "a.b"])
    ('int', 'list[Sized]', "Annotated[int, 'a.b']")
    """
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(_MODULES, "", str(annotation))


def _is_plain(annotation: object, seen: frozenset[int]) -> bool:
    if id(annotation) in seen:  # recursive: the rest of it is checked already
        return True
    seen |= {id(annotation)}
    if _is_one_of(annotation, _SCALARS | _OPEN) or isinstance(annotation, _OPEN_KINDS):
        return True
    origin = get_origin(annotation)
    if origin is Literal:
        return all(type(value) in _LITERALS for value in get_args(annotation))
    if origin is Annotated and any(map(_checks_values, get_args(annotation)[1:])):
        return False
    if origin in _DICTS and get_args(annotation)[0] is not str:
        return False
    parts = _parts(annotation)
    return parts is not None and all(_is_plain(part, seen) for part in parts)


def _is_open(annotation: object, seen: frozenset[int]) -> bool:
    if id(annotation) in seen:
        return False
    seen |= {id(annotation)}
    if _is_one_of(annotation, _OPEN) or isinstance(annotation, _OPEN_KINDS):
        return True
    return any(_is_open(part, seen) for part in _parts(annotation) or ())


def _depth_of(annotation: object, seen: frozenset[int]) -> int:
    if id(annotation) in seen:
        return 0
    seen |= {id(annotation)}
    origin = get_origin(annotation)
    is_container = origin in _LISTS or origin in _DICTS or hasattr(annotation, "__required_keys__")
    inner = [_depth_of(part, seen) for part in _parts(annotation) or ()]
    return is_container + max(inner, default=0)


def _parts(annotation: object) -> list[object] | None:
    """Return the annotations that a plain one consists of; None if its kind is unknown."""
    if isinstance(annotation, NewType):
        return [cast("object", annotation.__supertype__)]
    if type(annotation).__name__ == "TypeAliasType":
        return [cast("Any", annotation).__value__]
    if _is_one_of(annotation, _SCALARS):
        return []
    inner = list(get_args(annotation))
    origin = get_origin(annotation)
    if origin is Literal:
        return []
    if origin in {Annotated, Required, NotRequired, Unpack} or _is_read_only(origin):
        return inner[:1]
    if origin in {types.UnionType, Union} or origin in _LISTS or origin in _DICTS:
        return inner
    if hasattr(annotation, "__required_keys__") and not hasattr(annotation, "__pydantic_config__"):
        return _fields_of(annotation)
    return None


def _fields_of(typed_dict: object) -> list[object] | None:
    try:
        return list(get_type_hints(typed_dict, include_extras=True).values())
    except (NameError, TypeError):
        return None


def _is_read_only(origin: object) -> bool:
    return getattr(origin, "_name", None) == "ReadOnly"  # Python 3.13, or typing_extensions


def _checks_values(mark: object) -> bool:
    if hasattr(mark, "__get_pydantic_core_schema__"):
        return True
    return any(cls.__module__.partition(".")[0] in _CHECKERS for cls in type(mark).__mro__)


def _is_one_of(annotation: object, known: "frozenset[object]") -> bool:
    try:
        return annotation in known
    except TypeError:  # it has no hash
        return False
