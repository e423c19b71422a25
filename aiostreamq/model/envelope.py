"""The JSON of one job in a stream.

    {"v": 1, "task": "size", "args": ["https://a.b"], "kwargs": {"tenant": 7},
     "timeout": 30.0, "result_ttl": 60.0}

`args`, `kwargs` and what follows them are left out where they would be empty or
are the task's own business. Fields that are not known are ignored, so newer
producers may say more to older workers.
"""

from typing import NamedTuple, cast

import orjson

from aiostreamq.model.wire import encode

VERSION = 1


class Envelope(NamedTuple):
    """One call, as it was asked for."""

    task: str
    args: list[object]
    kwargs: dict[str, object]
    timeout: float | None  #: seconds, 0 for none; None where the task's own option holds
    result_ttl: float | None  #: seconds; None where the task's own option holds


class Malformed(ValueError):
    """The bytes are no envelope of a version that is known here."""


def encode_envelope(
    task: str, args: object, kwargs: object, overrides: "dict[str, object] | None" = None
) -> bytes:
    """Write one call.

    Raises:
        PayloadError: An argument can not be written.
    """
    told: dict[str, object] = {"v": VERSION, "task": task}
    if args:
        told["args"] = args
    if kwargs:
        told["kwargs"] = kwargs
    if overrides:
        told.update(overrides)
    return encode(told)


def decode_envelope(raw: bytes) -> Envelope:
    """Read one call.

    Raises:
        Malformed: It is not one.
    """
    try:
        told = orjson.loads(raw)
        if told["v"] != VERSION:
            raise Malformed(f"envelope version {told['v']!r} is not known here")
        envelope = Envelope(
            told["task"],
            told.get("args") or [],
            told.get("kwargs") or {},
            told.get("timeout"),
            told.get("result_ttl"),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not an envelope: {error}") from error
    if not _is_well_formed(envelope):
        raise Malformed("a field of the envelope has the wrong type")
    return envelope


def _is_well_formed(envelope: Envelope) -> bool:
    told = cast("tuple[object, ...]", envelope)
    return (
        isinstance(told[0], str)
        and isinstance(told[1], list)
        and isinstance(told[2], dict)
        and isinstance(told[3], int | float | None)
        and isinstance(told[4], int | float | None)
    )
