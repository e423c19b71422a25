"""JSON, as far as it goes: what can travel, and how what is not JSON is written.

Rich types are written the way pydantic reads them in JSON, so that a parameter
annotated with the type gets the value back.
"""

import base64
import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import cast

import orjson

from aiostreamq.errors import PayloadError


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
        refuse_nan(value)
    return written


def refuse_nan(value: object) -> None:
    """Raise PayloadError where *value* holds a float that is no number."""
    if _has_no_number(value):
        raise PayloadError("NaN and infinity are no JSON: send None or a string instead")


def _write_rich(value: object) -> object:
    match value:
        case Decimal():
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


def _plain_seconds(value: timedelta) -> str:
    whole = value.days * 86400 + value.seconds
    return f"{whole}.{value.microseconds:06d}" if value.microseconds else str(whole)


def _has_no_number(value: object) -> bool:
    match value:
        case float():
            return not math.isfinite(value)
        case str() | int() | None:
            return False
        case list() | tuple() | set() | frozenset():
            return any(map(_has_no_number, cast("list[object]", value)))
        case Mapping():
            return any(map(_has_no_number, cast("Mapping[object, object]", value).values()))
        case _:
            fields = getattr(value, "__dict__", None) or {
                name: getattr(value, name, None) for name in getattr(value, "__slots__", ())
            }
            return any(map(_has_no_number, fields.values()))
