"""Keys of calls: what two calls of a task must have in common to be the same."""

from collections.abc import Callable, Sequence
from inspect import Parameter, iscoroutinefunction, isgeneratorfunction, signature
from typing import TYPE_CHECKING

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
    names = needed_by(task, rule.key, "key")
    taken = [name for name in of_task.whole.parameters if name not in of_task.filled_in.names]
    for name in names:
        if name not in taken:
            known = ", ".join(taken) or "none"
            raise UsageError(
                f"task {task!r}: the key of its {rule.option}=... is made from argument {name!r}, "
                f"which the task does not take; it takes: {known}"
            )


def needed_by(task: str, key: "Key", what: str) -> "Sequence[str]":
    """Return the names of the arguments that a key or a cost needs; *what* names it in errors.

    Raises:
        UsageError: It is a function that cannot give it.
    """
    if not callable(key):
        return _names_in(key) or ()
    function = key
    if iscoroutinefunction(function) or isgeneratorfunction(function):
        raise UsageError(
            f"task {task!r}: its {what} function {function!r} must return the {what} at once: "
            f"write it as a plain function, without async and yield"
        )
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        raise UsageError(
            f"task {task!r}: the parameters of its {what} function {function!r} cannot be found: "
            f"use a lambda around it, as in {what}=lambda url: ..."
        ) from None
    if any(one.kind in _UNNAMED for one in parameters):
        raise UsageError(
            f"task {task!r}: its {what} function {function!r} must name each argument that it "
            f"takes: leave out *args, **kwargs and '/'"
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
        return digest(task, [called(task, rule.key, of_task, args, kwargs)])
    parts = _parts(rule.key, task, of_task, args, kwargs)
    return digest(task, [list(part) for part in parts])


def parts_of(
    key: "Key",
    task: str,
    of_task: "TaskSignature | None",
    args: Sequence[object],
    kwargs: "Mapping[str, object]",
) -> list[object]:
    """Return what a key is made from: values of arguments, as they are sent, or of a function.

    Args:
        key: The key.
        task: The name of the task in its queue.
        of_task: Its signature; None if only its name is known.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        UsageError: The key function raised, or an argument is missing.
        PayloadError: An argument does not match its annotation.
    """
    if callable(key):
        return [called(task, key, of_task, args, kwargs)]
    return [value for _, value in _parts(key, task, of_task, args, kwargs)]


def _parts(
    key: "Key",
    task: str,
    of_task: "TaskSignature | None",
    args: Sequence[object],
    kwargs: "Mapping[str, object]",
) -> "list[tuple[str, object]]":
    """Return the arguments that a key is made from, each with its name, in the order of these."""
    given, others = _by_name(of_task, args, kwargs)
    names = _names_in(key)
    if missing := [name for name in names or () if name not in given and name not in others]:
        raise UsageError(
            f"task {task!r}: its key is made from argument {missing[0]!r}, which this call "
            f"does not have: give it by name"
        )
    parts: list[tuple[str, object]] = []
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
        parts.append((name, sent))
    return parts


def digest(task: str, parts: list[object], *, of_all_tasks: bool = False) -> str:
    """Return the digest of what a key is made from.

    Args:
        task: The name of the task in its queue.
        parts: The values of which the key is made.
        of_all_tasks: Whether the same key is the same for all tasks; else each has its own.

    Raises:
        PayloadError: It is not plain JSON.
    """
    try:
        # Read and written again, as the order of names in objects is that of the caller.
        written = orjson.loads(encode(parts))
        canonical = orjson.dumps(written, option=orjson.OPT_SORT_KEYS)
    except PayloadError as error:
        raise PayloadError(f"task {task!r}: its key is not plain JSON: {error}") from error
    from hashlib import blake2b  # at the first use: most programs have no keys

    own = b"" if of_all_tasks else task.encode()
    return blake2b(own + b"\0" + canonical, digest_size=DIGEST_BYTES).hexdigest()


def _by_name(
    of_task: "TaskSignature | None", args: Sequence[object], kwargs: "Mapping[str, object]"
) -> "tuple[Mapping[str, object], Mapping[str, object]]":
    """Return the arguments of a call, and the defaults of others, by name."""
    if of_task is not None:
        return of_task.by_name(args, kwargs)
    return {**{str(place): value for place, value in enumerate(args)}, **kwargs}, {}


def called(
    task: str,
    function: Callable[..., object],
    of_task: "TaskSignature | None",
    args: Sequence[object],
    kwargs: "Mapping[str, object]",
    what: str = "key",
) -> object:
    """Return what a function for a key returns for the arguments that it takes.

    *what* names the function in errors.

    Raises:
        UsageError: It raised.
    """
    given, others = _by_name(of_task, args, kwargs)
    arguments = {**others, **given}
    try:
        taken = signature(function).parameters
        return function(**{name: arguments[name] for name in taken if name in arguments})
    except Exception as error:  # whatever the function raises
        kind, text = type(error).__name__, text_of(error, 200)
        raise UsageError(
            f"task {task!r}: its {what} function raised {kind}: {text}; correct the function, or "
            f"the arguments of the call"
        ) from error
