"""The envelope: a call of a task, as JSON in a stream entry.

    {"task": "size", "args": ["https://a.b"], "kwargs": {"tenant": 7},
     "timeout": 30.0, "result_ttl": 60.0, "expires": 1764000000000, "deadline": 1764000060000,
     "scheduled_for": 1764000000000, "headers": {"tenant": "acme"}, "secrets": ["/args/0"],
     "on_failure": {"lane": "default", "mark": "0", "job": "..."}, "parent": "0193...",
     "key": "done:7d1f..."}

`args`, `kwargs` and the fields after them are omitted if they are empty or equal to the task's
own options. Unknown fields are ignored, so that newer producers can add some.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard, cast

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.callbacks import NO_CALLBACKS, Callbacks
from aiostreamq.model.metadata import NO_HEADERS, HeldKey, Metadata, joined_headers, read_metadata
from aiostreamq.model.retry import Retries, Retry
from aiostreamq.model.values.plain_json import encode

VERSION = 1

# Types of the fields of a retry rule; Retry checks the others.
_RULE = {
    "attempts": {int},
    "on": {list},
    "not_on": {list},
    "backoff": {str, list},
    "jitter": {bool},
}


class Envelope(NamedTuple):
    """One call of a task, with the options given for it."""

    task: str
    args: list[object]
    kwargs: dict[str, object]
    timeout: float | None = None  #: seconds, 0 means no limit; None is the task's own option
    result_ttl: float | None = None  #: seconds; None is the task's own option
    retry: Retries = ()  #: empty is the task's own option
    expires: float | None = None  #: latest start, ms since 1970; None means no limit
    deadline: float | None = None  #: latest end, ms since 1970; None means no limit
    scheduled_for: float | None = None  #: the tick of a schedule, ms since 1970
    metadata: Metadata | None = None  #: what travels beside the call; None for most jobs

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the job."""
        return NO_HEADERS if self.metadata is None else self.metadata.headers

    @property
    def callbacks(self) -> Callbacks:
        """The callbacks of the job."""
        return NO_CALLBACKS if self.metadata is None else self.metadata.callbacks

    @property
    def key(self) -> HeldKey | None:
        """The key that the job holds; None if it holds none."""
        return None if self.metadata is None else self.metadata.key

    @property
    def parent(self) -> str | None:
        """The id of the job whose callback it is; None if it is not one."""
        return None if self.metadata is None else self.metadata.parent


class Malformed(ValueError):
    """The bytes are not an envelope, or are of an unknown version."""


def encode_head(task: str) -> bytes:
    """Return the bytes that all envelopes of *task* begin with."""
    # Version 1 is implied: writing it would cost 6 bytes for every queued job.
    return b'{"task":%b' % orjson.dumps(task)


def encode_envelope(
    head: bytes,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    overrides: Mapping[str, object],
) -> bytes:
    """Return one call as JSON.

    Args:
        head: The result of `encode_head` for the task.
        args: Positional arguments, ready to be written.
        kwargs: Keyword arguments, likewise.
        overrides: Options given for this call.

    Raises:
        PayloadError: An argument is not plain JSON.
    """
    written = head
    if args:
        written += b',"args":' + encode(args)
    if kwargs:
        written += b',"kwargs":' + encode(kwargs)
    for name, value in overrides.items():
        written += b',"%b":%b' % (name.encode(), encode(value))
    return written + b"}"


def inheriting(envelope: bytes, deadline: float | None, headers: Mapping[str, str]) -> bytes:
    """Return *envelope* as a job enqueues it that has a deadline and headers.

    Args:
        envelope: A call. Its own deadline stays if it is earlier, and so do its own headers.
        deadline: The deadline of the job that enqueues it, ms since 1970; None if it has none.
        headers: The headers of that job.

    Raises:
        UsageError: The headers of both are too long together.
    """
    if deadline is None and not headers:
        return envelope
    call = orjson.loads(envelope)
    if deadline is not None:
        call["deadline"] = min(deadline, call.get("deadline", deadline))
    if headers:
        call["headers"] = joined_headers(headers, call.get("headers", {}))
    return orjson.dumps(call)


def decode_envelope(raw: bytes) -> Envelope:
    """Parse one call.

    Raises:
        Malformed: The bytes are not an envelope, or are of an unknown version.
    """
    try:
        call = orjson.loads(raw)
        if call.get("v", VERSION) != VERSION:
            raise Malformed(f"envelope version {call['v']!r} is unknown")
        task, args, kwargs = call["task"], call.get("args", []), call.get("kwargs", {})
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not an envelope: {error}") from error
    if type(task) is not str or type(args) is not list or type(kwargs) is not dict:
        raise Malformed("task, args or kwargs of the envelope has the wrong type")
    if len(call) == 1 + ("args" in call) + ("kwargs" in call):
        # True for nearly all. A cast would cost time for each job.
        return Envelope(task, args, kwargs)
    arguments = cast("list[object]", args), cast("dict[str, object]", kwargs)
    return _with_options(task, *arguments, cast("dict[str, object]", call))


def _with_options(
    task: str, args: list[object], kwargs: dict[str, object], call: Mapping[str, object]
) -> Envelope:
    times = map(call.get, ("timeout", "result_ttl", "expires", "deadline", "scheduled_for"))
    timeout, result_ttl, expires, deadline, scheduled_for = times
    if not (_is_time(timeout) and _is_time(result_ttl)):
        raise Malformed("timeout or result_ttl of the envelope is not a duration")
    if not (_is_time(expires) and _is_time(deadline) and _is_time(scheduled_for)):
        raise Malformed("expires, deadline or scheduled_for of the envelope is not a time")
    retry = _rules(call.get("retry"))
    try:
        metadata = read_metadata(call)
    except ValueError as error:
        raise Malformed(f"{error}, in the envelope") from error
    options = timeout, result_ttl, retry, expires, deadline, scheduled_for
    return Envelope(task, args, kwargs, *options, metadata)


def _rules(retry: object) -> Retries:
    if retry is None:
        return ()
    if type(retry) is not list:
        return (_rule(retry),)
    if not retry:
        raise Malformed("retry of the envelope holds no rule")
    # Rules that can never decide are not refused here: they do no harm.
    return tuple(map(_rule, cast("list[object]", retry)))


def _rule(found: object) -> Retry:
    if type(found) is not dict:
        raise Malformed("retry of the envelope is not an object")
    rule = cast("dict[str, object]", found)
    if not all(type(rule[name]) in kinds for name, kinds in _RULE.items() if name in rule):
        raise Malformed("a field of retry has the wrong type")
    if not all(type(kind) is str for name in ("on", "not_on") for kind in _list(rule.get(name))):
        raise Malformed("on or not_on of retry is not a list of names")
    try:
        return Retry.from_wire(rule)
    except (TypeError, UsageError) as error:
        raise Malformed(f"retry of the envelope is invalid: {error}") from error


def _list(value: object) -> "list[object]":
    return cast("list[object]", value) if type(value) is list else []


def _is_time(value: object) -> TypeGuard[float | None]:
    return value is None or (type(value) in {int, float} and cast("float", value) >= 0)
