"""JSON, as far as it goes: what can travel, and how what is not JSON is written.

Rich types are written the way pydantic reads them in JSON, so that a parameter
annotated with the type gets the value back.
"""

import base64
import math
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import orjson

from aiostreamq.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

# What every reader of JSON can be trusted with, and orjson writes.
SMALLEST, LARGEST = -(2**63), 2**64 - 1


def encode(value: object) -> bytes:
    """Return *value* as JSON.

    Raises:
        PayloadError: It can not be written without losing something.
    """
    try:
        written = orjson.dumps(value, _write_rich)
    except (TypeError, RecursionError) as error:
        raise PayloadError(f"{error}") from error
    # orjson writes NaN and infinities as null. Looking for them only where
    # there is a null keeps the check free for nearly all payloads.
    if b"null" in written:
        refuse_lossy(value)
    return written


def refuse_lossy(value: object) -> None:
    """Raise PayloadError where *value* holds a number that JSON can not carry."""
    if (fault := _fault(value)) is not None:
        raise PayloadError(f"{fault}: send a string instead")


def _write_rich(value: object) -> object:
    match value:
        case _ if _is_decimal(value):
            return str(value)
        case bytes() | bytearray():
            return base64.urlsafe_b64encode(value).decode()
        case set() | frozenset():
            return list(cast("set[object]", value))
        case timedelta():
            # Seconds in full: ISO 8601 durations of days and months read less plainly.
            return f"{'-' if value < timedelta(0) else ''}PT{_plain_seconds(abs(value))}S"
        case _:
            dump = getattr(value, "model_dump", None)
            if dump is not None:
                return dump(mode="json")
            raise TypeError(f"a value of type {type(value).__qualname__} is no JSON")


def _is_decimal(value: object) -> bool:
    # Only where the module is loaded can a value be one; loading it takes 0.5 MB or more.
    return isinstance(value, getattr(sys.modules.get("decimal"), "Decimal", ()))


def _plain_seconds(value: timedelta) -> str:
    whole = value.days * 86400 + value.seconds
    return f"{whole}.{value.microseconds:06d}" if value.microseconds else str(whole)


def _fault(value: object) -> str | None:
    """What JSON would lose of *value*, or None."""
    match value:
        case bool() | str() | bytes() | None:
            return None
        case int():
            return None if SMALLEST <= value <= LARGEST else "ints beyond 64 bits are no JSON here"
        case float():
            return _number_fault(value)
        case _ if _is_decimal(value):
            return _number_fault(cast("Decimal", value))
        case list() | tuple() | set() | frozenset():
            return _first_fault(cast("Iterable[object]", value))
        case Mapping():
            pairs = cast("Mapping[object, object]", value)
            return _first_fault([*pairs.keys(), *pairs.values()])
        case _:
            return _first_fault(_parts(value))


def _number_fault(value: "float | Decimal") -> str | None:
    return None if math.isfinite(value) else "NaN and infinity are no JSON"


def _first_fault(values: "Iterable[object]") -> str | None:
    return next(filter(None, map(_fault, values)), None)


def _parts(value: object) -> "Iterable[object]":
    if is_dataclass(value):
        return [getattr(value, field.name, None) for field in fields(value)]
    if hasattr(value, "model_dump"):
        return vars(value).values()
    return ()
