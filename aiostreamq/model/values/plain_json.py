"""Plain JSON: values that need no annotation to arrive as they were sent."""

import marshal
import math
from collections.abc import Iterator
from typing import cast

import orjson

from aiostreamq.errors import PayloadError
from aiostreamq.model.english import with_article

# The range of integers that orjson writes and reads.
SMALLEST, LARGEST = -(2**63), 2**64 - 1

# These make orjson refuse values that it would change: dates, dataclasses, subclasses of str.
_EXACT = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
# Later versions track references, which costs time, and the result is never read.
_MARSHAL_VERSION = 2
_NUMBERS = frozenset({int, float})
#: The types that contain no others: strings, numbers, booleans and None.
FLAT = frozenset({str, int, float, bool, type(None)})
_NOT_JSON = ", which is not JSON"


def encode(value: object) -> bytes:
    """Return *value* as JSON that is read back as an equal value of the same type.

    Tuples are the exception: they are read as lists.

    Raises:
        PayloadError: *value* is not plain JSON.
    """
    written = encode_flat(value)
    # orjson also writes enums and UUIDs as strings, and no option forbids it. marshal refuses
    # all types except built-in ones, in a fraction of the time of a walk.
    try:
        marshal.dumps(value, _MARSHAL_VERSION)  # pyright: ignore[reportArgumentType]  # may be refused
    except ValueError:
        _refuse_fault(value)
    return written


def encode_flat(value: object) -> bytes:
    """Return as JSON a list of values whose types are all `FLAT`, in half the time of `encode`.

    Raises:
        PayloadError: *value* is not plain JSON.
    """
    try:
        written = orjson.dumps(value, None, _EXACT)
    except (TypeError, RecursionError) as error:
        raise PayloadError(fault_in(value) or f"{error}") from error
    # orjson writes NaN and infinities as null. Searching for them only if there is a null keeps
    # the check free for nearly all payloads.
    if b"null" in written:
        _refuse_fault(value)
    return written


def fault_in(value: object, *, allow_tuples: bool = True) -> str | None:
    """Return what is not plain JSON in *value*, and where; None if all of it is plain JSON.

    >>> fault_in({"at": [1, 1j]})
    "['at'][1] is a complex, which is not JSON"
    """
    try:
        return next(_faults(value, "", allow_tuples=allow_tuples), None)
    except RecursionError:
        return "it is nested too deeply, or contains itself"


def refusal(error: PayloadError, expected: str | None, advice: str) -> str:
    """Return why `encode` refused a value.

    Args:
        error: The exception that it raised.
        expected: The annotation of the value; None if there is none, or if it allows anything.
        advice: The remedy if the value is of a type that JSON does not have.
    """
    reason = str(error)
    if not reason.endswith(_NOT_JSON):
        return reason
    return f"{reason}: {advice}" if expected is None else f"expected {expected}, and {reason}"


def holds_tuple(value: object, depth: int) -> bool:
    """Whether *value* is a tuple, or contains one within *depth* levels of containers.

    >>> holds_tuple([(1,)], 1), holds_tuple([(1,)], 2)
    (False, True)
    """
    kind = type(value)
    if kind is tuple:
        return True
    if depth <= 1 or (kind is not list and kind is not dict):
        return False
    named = cast("dict[str, object]", value)
    parts = named.values() if kind is dict else cast("list[object]", value)
    if tuple in map(type, parts):
        return True
    return depth > 2 and any(holds_tuple(part, depth - 1) for part in parts)


def _refuse_fault(value: object) -> None:
    if (fault := fault_in(value)) is not None:
        raise PayloadError(fault)


def _faults(value: object, at: str, *, allow_tuples: bool) -> Iterator[str]:
    kind = type(value)
    if kind is list or (kind is tuple and allow_tuples):
        for place, one in enumerate(cast("list[object]", value)):
            yield from _faults(one, f"{at}[{place}]", allow_tuples=allow_tuples)
    elif kind is dict:
        for key, one in cast("dict[object, object]", value).items():
            if (fault := _key_fault(key)) is not None:
                yield f"{at or 'it'} {fault}"
            yield from _faults(one, f"{at}[{key!r}]", allow_tuples=allow_tuples)
    elif (fault := _leaf_fault(value)) is not None:
        yield f"{at or 'it'} {fault}"


def _key_fault(key: object) -> str | None:
    if type(key) is not str:
        return f"has {with_article(type(key).__name__)} as a key{_NOT_JSON}"
    return None if _is_text(key) else "has a key with a lone surrogate: UTF-8 does not have it"


def _leaf_fault(value: object) -> str | None:
    kind = type(value)
    if kind is str:
        is_good, fault = _is_text(cast("str", value)), "a str with a lone surrogate"
        return None if is_good else f"is {fault}: UTF-8 does not have it"
    if kind in _NUMBERS:
        return number_fault(cast("int | float", value))
    if value is None or kind is bool or kind is orjson.Fragment:
        return None
    return f"is {with_article(kind.__name__)}{_NOT_JSON}"


def number_fault(value: float) -> str | None:
    """Return what is wrong with an int or a float for JSON; None if it is valid.

    >>> number_fault(2**64)
    'is an int beyond 64 bits: send a string'
    """
    if type(value) is int:
        is_good, fault = SMALLEST <= value <= LARGEST, "an int beyond 64 bits"
    else:
        is_good, fault = math.isfinite(value), "NaN or infinite"
    return None if is_good else f"is {fault}: send a string"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
