"""Keys of calls: what two calls of a task must have in common to be the same."""

from collections.abc import Callable, Sequence
from inspect import Parameter, iscoroutinefunction, isgeneratorfunction, signature
from typing import TYPE_CHECKING, cast

import orjson

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.values.plain_json import encode
from aiostreamq.untrusted import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.model.functions.signature import TaskSignature
    from aiostreamq.model.unique import Key, Rule

# Bytes of a digest. Two keys of the same digest would be one: with 16 bytes, a billion keys meet
# with a probability of 10^-21.
DIGEST_BYTES = 16

_UNNAMED = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD, Parameter.POSITIONAL_ONLY}


def _names_in(key: "Key") -> tuple[str, ...] | None:
    """Return the arguments that a key is made from; None if it is a function, or all of them."""
    if key is None or callable(key):
        return None
    return (key,) if isinstance(key, str) else tuple(key)


def check_rule(rule: "Rule", task: str, of_task: "TaskSignature") -> None:
    """Check that a task has the arguments that a key is made from.

    Raises:
        UsageError: It does not have one of them.
    """
    names = _names_in(rule.key)
    if names is None and rule.key is not None:
        names = _needed_by(task, cast("Callable[..., object]", rule.key))
    taken = [name for name in of_task.whole.parameters if name not in of_task.filled_in.names]
    for name in names or ():
        if name not in taken:
            known = ", ".join(taken) or "none"
            raise UsageError(
                f"task {task!r}: the key of its {rule.option}=... is made from argument {name!r}, "
                f"which the task does not take; it takes: {known}"
            )


def _needed_by(task: str, function: Callable[..., object]) -> list[str]:
    """Return the names of the parameters of a key function."""
    if iscoroutinefunction(function) or isgeneratorfunction(function):
        raise UsageError(
            f"task {task!r}: its key function {function!r} must return the key at once: write it "
            f"as a plain function, without async and yield"
        )
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        raise UsageError(
            f"task {task!r}: the parameters of its key function {function!r} cannot be found: use "
            f"a lambda around it, as in key=lambda url: ..."
        ) from None
    if any(one.kind in _UNNAMED for one in parameters):
        raise UsageError(
            f"task {task!r}: its key function {function!r} must name each argument that it takes: "
            f"leave out *args, **kwargs and '/'"
        )
    return [one.name for one in parameters if one.default is Parameter.empty]


def digest_of(
    rule: "Rule",
    task: str,
    of_task: "TaskSignature | None",
    args: Sequence[object],
    kwargs: "Mapping[str, object]",
) -> str:
    """Return the digest of the key of a call.

    Args:
        rule: The rule of the job.
        task: The name of the task in its queue.
        of_task: Its signature; None if only its name is known. Then an argument that is given by
            position has its place as its name: "0", "1".
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        UsageError: The key function raised, or an argument is missing.
        PayloadError: The key is not plain JSON.
    """
    if callable(rule.key):
        given, others = _by_name(of_task, args, kwargs)
        return _digest(task, [_called(task, rule.key, {**others, **given})])
    return _digest(task, _parts(rule, task, of_task, args, kwargs))


def _parts(
    rule: "Rule",
    task: str,
    of_task: "TaskSignature | None",
    args: Sequence[object],
    kwargs: "Mapping[str, object]",
) -> list[object]:
    """Return the arguments that a key is made from, each with its name, in the order of these."""
    given, others = _by_name(of_task, args, kwargs)
    names = _names_in(rule.key)
    if missing := [name for name in names or () if name not in given and name not in others]:
        raise UsageError(
            f"task {task!r}: its key is made from argument {missing[0]!r}, which this call "
            f"does not have: give it by name"
        )
    parts: list[object] = []
    for name in sorted(set(names or (*given, *others))):
        value = given[name] if name in given else others[name]
        try:
            sent = value if of_task is None else of_task.comparable(name, value)
            if name in others:
                encode(sent)
        except PayloadError:
            # A default need not be JSON, nor match its annotation: it is not sent.
            if name in given:
                raise
            continue
        parts.append([name, sent])
    return parts


def _digest(task: str, parts: list[object]) -> str:
    try:
        # Read and written again, as the order of names in objects is that of the caller.
        written = orjson.loads(encode(parts))
        canonical = orjson.dumps(written, option=orjson.OPT_SORT_KEYS)
    except PayloadError as error:
        raise PayloadError(f"task {task!r}: its key is not plain JSON: {error}") from error
    from hashlib import blake2b  # at the first use: most programs have no keys

    return blake2b(task.encode() + b"\0" + canonical, digest_size=DIGEST_BYTES).hexdigest()


def _by_name(
    of_task: "TaskSignature | None", args: Sequence[object], kwargs: "Mapping[str, object]"
) -> "tuple[Mapping[str, object], Mapping[str, object]]":
    """Return the arguments of a call, and the defaults of others, by name."""
    if of_task is not None:
        return of_task.by_name(args, kwargs)
    return {**{str(place): value for place, value in enumerate(args)}, **kwargs}, {}


def _called(
    task: str, function: Callable[..., object], arguments: "Mapping[str, object]"
) -> object:
    """Return what a key function returns for the arguments that it takes."""
    try:
        taken = signature(function).parameters
        return function(**{name: arguments[name] for name in taken if name in arguments})
    except Exception as error:  # whatever the function raises
        kind, text = type(error).__name__, text_of(error, 200)
        raise UsageError(
            f"task {task!r}: its key function raised {kind}: {text}; correct the function, or the "
            f"arguments of the call"
        ) from error
