"""Writing the envelope of a call, checked against the task's signature if that is known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from aiostreamq.errors import PayloadError
from aiostreamq.model.envelope import encode_envelope
from aiostreamq.model.values.plain_json import FLAT, encode, encode_flat, refusal

if TYPE_CHECKING:
    from aiostreamq.model.functions.signature import TaskSignature
    from aiostreamq.model.task import TaskSpec


def write_call(
    spec: "TaskSpec",
    args: Sequence[object],
    kwargs: Mapping[str, object],
    fields: Mapping[str, object],
) -> bytes:
    """Return the envelope of a call.

    Args:
        spec: The task.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        fields: The other fields of the envelope.

    Raises:
        UsageError: The arguments do not fit the task.
        PayloadError: An argument would not arrive as an equal value of the same type.
    """
    signature = spec.signature
    if signature is not None and not kwargs and not fields and len(args) in signature.bare_counts:
        # Most calls: a few strings and numbers. Writing them needs none of the steps below.
        for value in args:
            if type(value) not in FLAT:
                break
        else:
            try:
                return b'%b,"args":%b}' % (spec.head, encode_flat(args))
            except PayloadError:
                pass  # raised again below, with the name of the argument
    if signature is not None:
        args, kwargs, secrets = signature.write_arguments(args, kwargs)
        if secrets:
            more = cast("Sequence[str]", fields.get("secrets", ()))  # those of callbacks
            fields = {**fields, "secrets": [*secrets, *more]}
    try:
        return encode_envelope(spec.head, args, kwargs, fields)
    except PayloadError as error:
        reason = _blame(args, kwargs, signature) or _blame_carried(fields) or f"{error}"
        raise PayloadError(f"task {spec.name!r}, {reason}") from error


def _blame(
    args: Sequence[object], kwargs: Mapping[str, object], signature: "TaskSignature | None"
) -> str | None:
    """Return the name of the first argument that cannot be written, and the reason."""
    name_of = str if signature is None else signature.name_of
    named = [*((name_of(place), value) for place, value in enumerate(args)), *kwargs.items()]
    for name, value in named:
        expected = None if signature is None else signature.expected_of(name)
        try:
            encode(value)
        except PayloadError as error:
            advice = "annotate the parameter with its type"
            if signature is None:
                advice = "this process knows the task only by name, not what it expects"
            return f"argument {name!r}: {refusal(error, expected, advice)}"
    return None


def _blame_carried(fields: Mapping[str, object]) -> str | None:
    """Return the name of the first context variable that cannot be written, and the reason."""
    for name, value in cast("dict[str, object]", fields.get("carried", {})).items():
        try:
            encode(value)
        except PayloadError as error:
            reason = refusal(error, None, "queue.carry takes variables whose values are JSON")
            return f"context variable {name!r}: {reason}"
    return None
