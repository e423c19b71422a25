"""The JSON of one job in a stream.

    {"task": "size", "args": ["https://a.b"], "kwargs": {"tenant": 7},
     "timeout": 30.0, "result_ttl": 60.0, "expires": 1764000000000, "deadline": 1764000060000,
     "scheduled_for": 1764000000000, "secrets": ["/args/0"]}

`args`, `kwargs` and what follows them are left out where they would be empty or
are the task's own business. Fields that are not known are ignored, so newer
producers may say more to older workers.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard, cast

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.retry import Retries, Retry
from aiostreamq.model.values.plain_json import encode, encode_flat

VERSION = 1

# What the fields of a rule of retries may be; the rest Retry sees to itself.
_RULE = {
    "attempts": {int},
    "on": {list},
    "not_on": {list},
    "backoff": {str, list},
    "jitter": {bool},
}


class Envelope(NamedTuple):
    """One call, as it was asked for."""

    task: str
    args: list[object]
    kwargs: dict[str, object]
    timeout: float | None = None  #: seconds, 0 for none; None where the task's own option holds
    result_ttl: float | None = None  #: seconds; None where the task's own option holds
    retry: Retries = ()  #: none where the task's own option holds
    expires: float | None = None  #: ms since 1970 by when it must have been started; None is never
    deadline: float | None = None  #: ms since 1970 by when it must have ended; None is never
    scheduled_for: float | None = None  #: the tick of a schedule, ms since 1970


class Malformed(ValueError):
    """The bytes are no envelope of a version that is known here."""


def encode_head(task: str) -> bytes:
    """Write what all calls of *task* begin with."""
    # Version 1 goes without saying: the words would be 6 bytes of every queued job.
    return b'{"task":%b' % orjson.dumps(task)


def encode_envelope(
    head: bytes,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    overrides: Mapping[str, object],
    *,
    is_flat: bool = False,
) -> bytes:
    """Write one call.

    Args:
        head: Of its task, from `encode_head`.
        args: Positional arguments, as they can be written.
        kwargs: The others.
        overrides: Options said for this call.
        is_flat: Whether *args* are known to be words and numbers.

    Raises:
        PayloadError: An argument is not plain JSON.
    """
    written = head
    if args:
        written += b',"args":' + (encode_flat(args) if is_flat else encode(args))
    if kwargs:
        written += b',"kwargs":' + encode(kwargs)
    for name, value in overrides.items():
        written += b',"%b":%b' % (name.encode(), encode(value))
    return written + b"}"


def bounded(envelope: bytes, deadline: float | None) -> bytes:
    """Return a written call that must have ended by *deadline* too, where there is one."""
    if deadline is None:
        return envelope
    told = orjson.loads(envelope)
    told["deadline"] = min(deadline, told.get("deadline", deadline))
    return orjson.dumps(told)


def decode_envelope(raw: bytes) -> Envelope:
    """Read one call.

    Raises:
        Malformed: It is not one.
    """
    try:
        told = orjson.loads(raw)
        if told.get("v", VERSION) != VERSION:
            raise Malformed(f"envelope version {told['v']!r} is not known here")
        task, args, kwargs = told["task"], told.get("args", []), told.get("kwargs", {})
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not an envelope: {error}") from error
    if type(task) is not str or type(args) is not list or type(kwargs) is not dict:
        raise Malformed("task, args or kwargs of the envelope has the wrong type")
    if len(told) == 1 + ("args" in told) + ("kwargs" in told):
        # As nearly all are. No cast, which would cost each job something.
        return Envelope(task, args, kwargs)
    call = cast("list[object]", args), cast("dict[str, object]", kwargs)
    return _with_options(task, *call, cast("dict[str, object]", told))


def _with_options(
    task: str, args: list[object], kwargs: dict[str, object], told: Mapping[str, object]
) -> Envelope:
    timeout, result_ttl, expires = map(told.get, ("timeout", "result_ttl", "expires"))
    times = map(told.get, ("timeout", "result_ttl", "expires", "deadline", "scheduled_for"))
    timeout, result_ttl, expires, deadline, scheduled_for = times
    if not (_is_time(timeout) and _is_time(result_ttl)):
        raise Malformed("timeout or result_ttl of the envelope is no length of time")
    if not (_is_time(expires) and _is_time(deadline) and _is_time(scheduled_for)):
        raise Malformed("expires, deadline or scheduled_for of the envelope is no time")
    retry = _rules(told.get("retry"))
    return Envelope(
        task, args, kwargs, timeout, result_ttl, retry, expires, deadline, scheduled_for
    )


def _rules(told: object) -> Retries:
    if told is None:
        return ()
    if type(told) is not list:
        return (_rule(told),)
    if not told:
        raise Malformed("retry of the envelope holds no rule")
    # Whether each can be reached is not asked: one that can not does no harm here.
    return tuple(map(_rule, cast("list[object]", told)))


def _rule(told: object) -> Retry:
    if type(told) is not dict:
        raise Malformed("retry of the envelope is no object")
    rule = cast("dict[str, object]", told)
    if not all(type(rule[name]) in kinds for name, kinds in _RULE.items() if name in rule):
        raise Malformed("a field of retry has the wrong type")
    if not all(type(kind) is str for name in ("on", "not_on") for kind in _list(rule.get(name))):
        raise Malformed("on and not_on of retry are no lists of names")
    try:
        return Retry.from_wire(rule)
    except (TypeError, UsageError) as error:
        raise Malformed(f"retry of the envelope cannot be meant: {error}") from error


def _list(value: object) -> "list[object]":
    return cast("list[object]", value) if type(value) is list else []


def _is_time(value: object) -> TypeGuard[float | None]:
    return value is None or (type(value) in {int, float} and cast("float", value) >= 0)
