"""Replaying a dead letter: the envelope, the history and the lane of the job that runs again."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import orjson

from aiostreamq.errors import PayloadError
from aiostreamq.model.dead_letters import DeadLetter, PastFailure, arguments_of
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.stored import json_object
from aiostreamq.model.time import milliseconds_since_1970
from aiostreamq.model.values.masking import copied, list_more, unmask
from aiostreamq.model.values.plain_json import encode

if TYPE_CHECKING:
    from aiostreamq.model.functions.signature import Call

# A letter that is replayed repeatedly must not grow without bound.
HISTORY_LENGTH = 10
HISTORY_MESSAGE = 200

# Times in an envelope after which its job would not run.
_LIMITS = frozenset({"expires", "deadline"})


def write_history(letter: DeadLetter) -> bytes:
    """Return the history of a job whose last failure is *letter*, as its entry stores it."""
    last = PastFailure(letter.died_at, letter.worker, letter.state, letter.error, letter.message)
    failures = [
        {
            "died": milliseconds_since_1970(failure.died_at),
            "worker": failure.worker,
            "state": failure.state,
            "type": failure.error,
            "message": failure.message[:HISTORY_MESSAGE],
        }
        for failure in (*letter.history, last)[-HISTORY_LENGTH:]
    ]
    return orjson.dumps(failures)


def write_replay(
    letter: DeadLetter,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    write: "Callable[[Sequence[object], Mapping[str, object]], Call] | None" = None,
) -> bytes:
    """Return the envelope for replaying the job of *letter*.

    It omits `expires` and `deadline`, which would end the job at once, and keeps unknown fields.

    Args:
        letter: The letter of a job.
        args: Positional arguments that replace the job's own; None keeps those. A mask in the
            place of a secret stands for that secret.
        kwargs: Keyword arguments, likewise.
        write: Writes new arguments by the annotations of the task, if the task is known.

    Raises:
        UsageError: A mask is not in the place of a secret, or the arguments do not fit the task.
        PayloadError: An argument cannot be written.
    """
    call = dict(json_object(letter.envelope))
    if args is None and kwargs is None and not call.keys() & _LIMITS:
        return letter.envelope  # byte for byte, so that nothing can be lost by rewriting it
    for limit in _LIMITS:
        call.pop(limit, None)
    if args is None and kwargs is None:
        try:
            return encode(call)
        except PayloadError:  # nested more deeply than an enqueue allows
            return letter.envelope
    if args is not None:
        call["args"] = copied(list(args))
    if kwargs is not None:
        call["kwargs"] = copied(dict(kwargs))
    unmask(call, json_object(letter.envelope))
    positional, named = arguments_of(call)
    if write is not None and positional is not None and named is not None:
        call["args"], call["kwargs"], secrets = write(positional, named)
        list_more(call, secrets)
    return encode(call)


def lane_to_replay_in(letter: DeadLetter, lanes: Sequence[str], own: str | None) -> str:
    """Return the lane for a replay: the job's last lane, its task's *own* lane, or the first."""
    for lane in (letter.lane, own):
        if lane in lanes:
            return cast("str", lane)
    return DEFAULT_LANE if DEFAULT_LANE in lanes else lanes[0]


def keeps_result(letter: DeadLetter, own_ttl: float | None) -> bool:
    """Whether the job of *letter* keeps a result; *own_ttl* is its task's option, if known."""
    ttl = json_object(letter.envelope).get("result_ttl")
    return (own_ttl if ttl is None else ttl) != 0
