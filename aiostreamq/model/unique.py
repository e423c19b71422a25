"""Uniqueness: which calls of a task are the same, and what happens to the second of them.

A call has a key, made from its arguments (functions/call_key.py). Redis gets a digest of it, so
that no secret stands among the names there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from aiostreamq.errors import UsageError

#: The parts of a key: an argument, several, or what a function returns for the arguments that
#: it takes; None is all arguments.
Key: TypeAlias = str | Sequence[str] | Callable[..., object] | None

#: The consequence for a call whose key another job holds.
OnConflict = Literal["return", "raise", "replace", "drop"]

_UNTIL = ("done",)

# The beginning of the field `key` of an envelope, before the digest.
_TO_THE_END = "done:"


@dataclass(frozen=True, slots=True)
class Unique:
    """The rule that only one job of a key is open at a time.

    As in `@queue.task(unique=Unique(key="url"))`. A job holds its key from its enqueue to its end,
    however it ends. This is not a limit of concurrency: a job that meets a taken key does not wait.

    Args:
        key: The argument that makes two calls the same; several, as in `("tenant", "url")`; or a
            function, which gets the arguments that it names, and returns what JSON can hold. By
            default the calls are the same if all arguments are equal.
        until: "done": the key is free when the job has ended.
        on_conflict: The fate of a call whose key another job holds. "return" enqueues nothing
            and returns the other job. "raise" raises AlreadyEnqueued. "replace" cancels the other
            job, as `Job.cancel` does, and enqueues the new one in the same step. "drop" ends the
            new job at once as dropped.

    Raises:
        UsageError: A value is invalid.
    """

    key: Key = None
    until: Literal["done"] = "done"
    on_conflict: OnConflict = "return"

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        _check_key(self.key)
        if self.until not in _UNTIL:
            raise UsageError(f"Unique(until={self.until!r}) is unknown: use 'done'")
        if self.on_conflict not in get_args(OnConflict):
            known = ", ".join(map(repr, get_args(OnConflict)))
            raise UsageError(f"Unique(on_conflict={self.on_conflict!r}) is unknown: use {known}")


def checked_unique(given: object) -> Unique | None:
    """Return the rule that was given as the option `unique`; None removes the rule.

    Raises:
        UsageError: It is not a rule.
    """
    if given is None or isinstance(given, Unique):
        return given
    raise UsageError(
        f"unique takes a rule, got {given!r}: use unique=Unique(), or unique=Unique(key='url')"
    )


def wire(rule: Unique, keep_ms: int) -> str:
    """Return a rule as enqueue_unique.lua reads it.

    Args:
        rule: The rule.
        keep_ms: Milliseconds that the outcome of the job is kept; 0 keeps none.
    """
    return f"{rule.until} {rule.on_conflict} {keep_ms}"


def with_key(envelope: bytes, digest: str) -> bytes:
    """Return an envelope that says which key the job holds to its end."""
    return b'%b,"key":"%b%b"}' % (envelope[:-1], _TO_THE_END.encode(), digest.encode())


def key_in(call: Mapping[str, object]) -> str | None:
    """Return the digest of the key that a job holds to its end, from the fields of its envelope."""
    held = call.get("key")
    # A form that is not known is ignored: the key is found free when the job has ended.
    is_known = isinstance(held, str) and held.startswith(_TO_THE_END)
    return cast("str", held).removeprefix(_TO_THE_END) if is_known else None


def _check_key(key: object) -> None:
    if key is None or callable(key) or (isinstance(key, str) and key):
        return
    names = cast("Sequence[object]", key) if isinstance(key, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(
            f"key={key!r} is invalid: give the name of an argument, several names as a tuple, a "
            f"function of arguments, or leave it out for all arguments"
        )
