"""Whether a value arrives as it was sent: equal, and of the same type."""

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from enum import Enum
from functools import cached_property
from typing import cast

from aiostreamq.model.english import with_article
from aiostreamq.model.values import plain_json

_ATOMS = frozenset({str, bool, bytes, type(None)})
_NUMBERS = frozenset({int, float})
_MISSING = object()

Parts = dict[str, object]
Difference = tuple[str, str]  # the place, and the fault
_CHANGED = "", "would arrive changed"


def difference(sent: object, arrived: object) -> str | None:
    """Return where and how *arrived* differs from *sent*; None if they are the same.

    An int that the annotation turns into a float counts as the same, and so do times whose zones
    only have different names.

    >>> difference([1, "2"], [1, 2])
    '[1] is a str and would arrive as an int'
    """
    found = _difference(sent, arrived)
    return None if found is None else f"{found[0] or 'it'} {found[1]}"


def number_fault(value: object) -> str | None:
    """Return where *value* holds a number that JSON cannot represent; None if it holds none.

    >>> number_fault({"x": [float("nan")]})
    "['x'][0] is NaN or infinite: send a string"
    """
    try:
        return next(_number_faults(value, ""), None)
    except RecursionError:
        return "it is nested too deeply, or holds itself"


def _number_faults(value: object, at: str) -> Iterator[str]:
    if isinstance(value, int | float | str | bytes) or value is None:
        if (
            type(value) in _NUMBERS
            and (found := plain_json.number_fault(cast("float", value))) is not None
        ):
            yield f"{at or 'it'} {found}"
    elif isinstance(value, Mapping):
        for key, part in cast("Mapping[object, object]", value).items():
            yield from _number_faults(key, at)
            yield from _number_faults(part, f"{at}[{key!r}]")
    elif isinstance(value, list | tuple | deque | AbstractSet):
        for place, part in enumerate(cast("list[object]", value)):
            yield from _number_faults(part, f"{at}[{place}]")
    elif is_dataclass(value) or _is_model(value):
        for name, part in (_parts_of(value) or {}).items():
            yield from _number_faults(part, f"{at}.{name}")


def _difference(sent: object, arrived: object) -> Difference | None:
    kind = type(sent)
    if kind is not type(arrived) and _unfrozen(kind) is not _unfrozen(type(arrived)):
        if kind is int and type(arrived) is float and sent == arrived:
            return None
        sent_as, arrived_as = with_article(kind.__name__), with_article(type(arrived).__name__)
        return "", f"is {sent_as} and would arrive as {arrived_as}"
    if kind in _ATOMS:
        return None if sent == arrived else _CHANGED
    if kind is int and (fault := plain_json.number_fault(cast("int", sent))) is not None:
        return "", fault
    if isinstance(sent, list | tuple | deque):
        return _between_sequences(cast("Sequence[object]", sent), arrived)
    if isinstance(sent, Mapping):
        return _between_mappings(cast("Mapping[object, object]", sent), arrived)
    if isinstance(sent, AbstractSet):
        return _between_sets(cast("AbstractSet[object]", sent), arrived)
    return _between_others(sent, arrived)


def _unfrozen(kind: type) -> type:
    """Return the type that freezegun replaces by *kind* while it freezes the time."""
    # The present is a FakeDatetime then. Without this, tests under freezegun could not send it.
    return kind.__mro__[1] if kind.__module__ == "freezegun.api" else kind


def _at(step: str, found: Difference) -> Difference:
    return step + found[0], found[1]


def _between_sequences(sent: Sequence[object], arrived: object) -> Difference | None:
    others = cast("Sequence[object]", arrived)
    if len(sent) != len(others):
        return _CHANGED
    if isinstance(sent, deque) and sent.maxlen != cast("deque[object]", others).maxlen:
        return _CHANGED
    for place, (one, other) in enumerate(zip(sent, others, strict=True)):
        if (found := _difference(one, other)) is not None:
            return _at(f"[{place}]", found)
    return None


def _between_mappings(sent: Mapping[object, object], arrived: object) -> Difference | None:
    others = cast("Mapping[object, object]", arrived)
    if isinstance(sent, defaultdict):
        factory = cast("defaultdict[object, object]", others).default_factory
        if sent.default_factory is not factory:
            return _CHANGED
    if isinstance(sent, OrderedDict) and list(sent) != list(others):
        return _CHANGED
    keys = {key: key for key in others}
    for key, one in sent.items():
        if key not in keys or _difference(key, keys[key]) is not None:
            return f"[{key!r}]", "would be lost"
        if (found := _difference(one, others[key])) is not None:
            return _at(f"[{key!r}]", found)
    return None if len(sent) == len(others) else _CHANGED


def _between_sets(sent: AbstractSet[object], arrived: object) -> Difference | None:
    others = cast("AbstractSet[object]", arrived)
    members = {member: member for member in others}
    for one in sent:
        if one not in members:
            return _CHANGED
        if (found := _difference(one, members[one])) is not None:
            return _at("{}", found)
    return None if len(sent) == len(others) else _CHANGED


def _between_others(sent: object, arrived: object) -> Difference | None:
    if isinstance(sent, Enum):
        return None if sent is arrived else _CHANGED
    if isinstance(sent, datetime | time):
        return None if _are_equal_times(sent, cast("datetime", arrived)) else _CHANGED
    if (parts := _parts_of(sent)) is not None:
        return _between_parts(parts, cast("Parts", _parts_of(arrived)))
    return None if _are_equal(sent, arrived) else _CHANGED


def _between_parts(sent: Parts, arrived: Parts) -> Difference | None:
    for name, part in sent.items():
        if name not in arrived:
            return f".{name}", "would be lost"
        if (found := _difference(part, arrived[name])) is not None:
            return _at(f".{name}", found)
    added = next((name for name in arrived if name not in sent), None)
    return None if added is None else (f".{added}", "would be added")


def _parts_of(value: object) -> Parts | None:
    """Return the parts of a value; None if it can only be compared with `==`."""
    parts: Parts = {}
    if is_dataclass(value):
        for field in fields(value):
            if (part := getattr(value, field.name, _MISSING)) is not _MISSING:
                parts[field.name] = part
    elif _is_model(value):
        for inner in ("__pydantic_private__", "__pydantic_extra__"):
            parts.update(cast("Parts", getattr(value, inner, None) or {}))
    elif type(value).__eq__ is not object.__eq__ or not hasattr(value, "__dict__"):
        return None
    cls = type(value)
    for name, part in getattr(value, "__dict__", {}).items():
        # Cached properties are computed again from the other parts.
        if not isinstance(getattr(cls, name, None), cached_property):
            parts[name] = part
    return parts


def _is_model(value: object) -> bool:
    # If pydantic is not loaded, no value can be a model, and importing it would take time.
    return isinstance(value, getattr(sys.modules.get("pydantic"), "BaseModel", ()))


def _are_equal(sent: object, arrived: object) -> bool:
    try:
        # NaN counts as equal to NaN.
        return bool(sent == arrived) or bool(sent != sent and arrived != arrived)  # noqa: PLR0124
    except Exception:  # noqa: BLE001  # `__eq__` may raise anything: then they are not equal
        return False


def _are_equal_times(sent: datetime | time, arrived: datetime | time) -> bool:
    if (sent.tzinfo is None) != (arrived.tzinfo is None) or sent.utcoffset() != arrived.utcoffset():
        return False
    # Compare without the zones, because a time that a clock change repeats never equals one of
    # another zone. The offsets are equal, so both are the same one of the two times.
    return sent == arrived or sent.replace(tzinfo=None) == arrived.replace(tzinfo=None)
