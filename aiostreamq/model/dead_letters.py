"""Dead letters: what is kept of a job that failed for good.

An entry of the dead letters begins with how it ended and where it was, in this
order: `outcome`, `worker`, `stream`, `entry`. The fields of the job's own entry
follow. Anybody who can write to Redis can write such an entry too, so whatever
cannot be read here is left empty, and nothing raises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import orjson

from aiostreamq.errors import PayloadError
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import JobState
from aiostreamq.model.values.masking import copied, list_more, mask, unmask
from aiostreamq.model.values.plain_json import encode

if TYPE_CHECKING:
    from aiostreamq.model.functions.signature import Call

# Replayed again and again, a letter must not grow without a bound.
HISTORY_LENGTH = 10
HISTORY_MESSAGE = 200

Fields = Sequence[tuple[bytes, bytes]]

_HEADER = (b"outcome", b"worker", b"stream", b"entry")
_JOB = (b"id", b"n", b"job")
# What a number in an id of a stream can be at the most.
_LAST = 2**64 - 1
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


# The times of an envelope after which its job would not run.
_LIMITS = frozenset({"expires", "deadline"})


@dataclass(frozen=True, slots=True)
class PastFailure:
    """How a job had ended before it was replayed."""

    died_at: datetime  #: when, in UTC
    worker: str  #: name of the worker that had it
    state: JobState
    error: str  #: qualified name of the exception's class
    message: str  #: its first 200 characters


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is kept of a job that failed for good.

    Of an entry that was no job, `job_id` and `task` are empty and `fields` has what
    it was. What cannot be read is empty or None.
    """

    id: str  #: of the letter, for `show`, `replay` and `purge`; sorted by time
    job_id: str  #: of the job; a replay keeps it
    task: str  #: name of the task
    state: JobState  #: how the job ended
    error: str  #: qualified name of the exception's class, as in "ValueError"
    message: str  #: str() of the exception
    traceback: str  #: of the task's own frames
    args: list[object] | None  #: as plain JSON, secrets masked; None where they cannot be read
    kwargs: dict[str, object] | None
    attempt: int  #: number of the last attempt, from 1
    deliveries: int  #: how often the job was given to a worker, replays included
    victims: tuple[str, ...]  #: the workers that died with it since its last outcome
    died_at: datetime  #: when the letter was written, in UTC
    queued_at: datetime | None  #: when the job had been put where it was last, in UTC
    worker: str  #: name of the worker that had it last
    lane: str  #: where it was: a lane, or "returned"
    history: tuple[PastFailure, ...]  #: how it had ended before each replay, oldest first
    envelope: bytes = field(repr=False)  #: the call as it is stored, JSON, with its secrets
    fields: tuple[tuple[bytes, bytes], ...]  #: of an entry that was no job

    @property
    def is_job(self) -> bool:
        """Whether it is a job, which can be replayed."""
        return bool(self.job_id)

    @property
    def deaths(self) -> int:
        """How many workers have died with it since its last outcome."""
        return len(self.victims)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which letters are meant, by what is in them."""

    task: str | None = None
    error: str | None = None  #: with or without its module

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return self.task is None and self.error is None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether *letter* is meant."""
        if self.task is not None and letter.task != self.task:
            return False
        error = self.error
        return error is None or letter.error == error or letter.error.endswith(f".{error}")


def parse_letter(letter_id: bytes, flat: Sequence[bytes]) -> DeadLetter:
    """Read an entry of the dead letters; *flat* has names and values in turn."""
    fields = tuple(zip(flat[::2], flat[1::2], strict=False))
    outcome = worker = stream = entry = b""
    if tuple(name for name, _ in fields[: len(_HEADER)]) == _HEADER:
        outcome, worker, stream, entry = (value for _, value in fields[: len(_HEADER)])
        fields = fields[len(_HEADER) :]
    told = _object(outcome)
    state = _state(told.get("state"))
    error, message, traceback = _error(told.get("error"), state)
    job = _job_fields(fields)
    envelope = job.get(b"job", b"")
    call = _object(envelope)
    mask(call)
    args, kwargs = _arguments(call)
    return DeadLetter(
        id=_text(letter_id),
        job_id=_text(job.get(b"id", b"")),
        task=_string(call.get("task")) or _string(told.get("task")),
        state=state,
        error=error,
        message=message,
        traceback=traceback,
        args=args,
        kwargs=kwargs,
        attempt=_number(job.get(b"a"), 1),
        deliveries=_number(job.get(b"n"), 0),
        victims=tuple(_victims(job.get(b"d", b""))),
        died_at=_moment(_number(letter_id.partition(b"-")[0], 0)),
        queued_at=_queued_at(entry),
        worker=_text(worker),
        lane=_text(stream).partition("}:stream:")[2],
        history=tuple(_history(job.get(b"h", b""))),
        envelope=envelope,
        fields=() if job else fields,
    )


def write_history(letter: DeadLetter) -> bytes:
    """The history of a job whose last failure is *letter*, as its entry carries it."""
    last = PastFailure(letter.died_at, letter.worker, letter.state, letter.error, letter.message)
    told = [
        {
            "died": round(failure.died_at.timestamp() * 1000),
            "worker": failure.worker,
            "state": failure.state,
            "type": failure.error,
            "message": failure.message[:HISTORY_MESSAGE],
        }
        for failure in (*letter.history, last)[-HISTORY_LENGTH:]
    ]
    return orjson.dumps(told)


def write_replay(
    letter: DeadLetter,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    write: "Callable[[Sequence[object], Mapping[str, object]], Call] | None" = None,
) -> bytes:
    """The envelope with which the job of *letter* runs again.

    Without what would end it at once: the times by which it must have been started or ended.
    What is not known of it stays.

    Args:
        letter: Of a job.
        args: Positional arguments in place of its own; None leaves them. Masks in
            the places of its secrets stand for those.
        kwargs: The others.
        write: Writes other arguments by the annotations of the task, if it is known.

    Raises:
        UsageError: A mask stands where no secret was, or the task cannot be called so.
        PayloadError: An argument can not be written.
    """
    told = dict(_object(letter.envelope))
    if args is None and kwargs is None and not told.keys() & _LIMITS:
        return letter.envelope  # byte for byte: nothing is lost by being written anew
    for limit in _LIMITS:
        told.pop(limit, None)
    if args is None and kwargs is None:
        try:
            return encode(told)
        except PayloadError:  # nested as deep as nothing is that came through an enqueue
            return letter.envelope
    if args is not None:
        told["args"] = copied(list(args))
    if kwargs is not None:
        told["kwargs"] = copied(dict(kwargs))
    unmask(told, _object(letter.envelope))
    now, named = _arguments(told)
    if write is not None and now is not None and named is not None:
        told["args"], told["kwargs"], secrets = write(now, named)
        list_more(told, secrets)
    return encode(told)


def lane_to_replay_in(letter: DeadLetter, lanes: Sequence[str], own: str | None) -> str:
    """Where the job of *letter* runs again: where it was, its task's *own* lane, or the first."""
    for lane in (letter.lane, own):
        if lane in lanes:
            return cast("str", lane)
    return DEFAULT_LANE if DEFAULT_LANE in lanes else lanes[0]


def keeps_result(letter: DeadLetter, own_ttl: float | None) -> bool:
    """Whether the job of *letter* keeps a result; *own_ttl* is its task's own, where known."""
    ttl = _object(letter.envelope).get("result_ttl")
    return (own_ttl if ttl is None else ttl) != 0


def is_letter_id(told: str) -> bool:
    """Whether *told* is written as the id of a letter.

    >>> is_letter_id("1764000000000-0"), is_letter_id("019ab3c4d5eXyz")
    (True, False)
    """
    ms, dash, number = told.partition("-")
    return dash == "-" and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) <= _LAST
        for part in (ms, number)
    )


def id_before(letter_id: str) -> str:
    """The greatest id that is smaller.

    >>> id_before("1764000000000-1"), id_before("1764000000000-0")
    ('1764000000000-0', '1763999999999-18446744073709551615')
    """
    ms, number = _place(letter_id)
    if number:
        return f"{ms}-{number - 1}"
    return last_id_of(ms - 1) if ms else letter_id


def id_after(letter_id: str) -> str:
    """The smallest id that is greater.

    >>> id_after("1764000000000-0")
    '1764000000000-1'
    """
    ms, number = _place(letter_id)
    return f"{ms}-{number + 1}" if number < _LAST else f"{ms + 1}-0"


def last_id_of(ms: int) -> str:
    """The greatest id of a millisecond; of 1970's first for any before it."""
    return f"{max(0, ms)}-{_LAST}"


def earlier(one: str, other: str) -> str:
    """The smaller of two ids; "+" is greater than all.

    >>> earlier("10-0", "9-0"), earlier("+", "9-0")
    ('9-0', '9-0')
    """
    return min(
        (letter_id for letter_id in (one, other) if letter_id != "+"), key=_place, default="+"
    )


def _place(letter_id: str) -> tuple[int, int]:
    ms, _, number = letter_id.partition("-")
    return int(ms), int(number)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(raw: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _number(raw: bytes | None, default: int) -> int:
    # Not int() alone, which takes " 1_000" as well and raises for 5,000 digits. More than
    # 15 no number of ours has, and Lua would not count them exactly.
    if raw is None or len(raw) > 15 or not raw.isdigit():
        return default
    return int(raw)


def _moment(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return _END_OF_TIME


def _queued_at(entry: bytes) -> datetime | None:
    ms = _number(entry.partition(b"-")[0], 0)
    return _moment(ms) if ms else None


def _state(told: object) -> JobState:
    try:
        return JobState(cast("str", told))
    except ValueError:
        return JobState.DEAD


def _error(told: object, state: JobState) -> tuple[str, str, str]:
    if isinstance(told, dict):
        error = cast("dict[str, object]", told)
        kind, message, traceback = map(error.get, ("type", "message", "traceback"))
        return _string(kind), _string(message), _string(traceback)
    if state is JobState.TIMED_OUT:
        # As rules for retries name it; the outcome says no more than its state.
        return "TimeoutError", "the task ran past its timeout", ""
    return "", "", ""


def _job_fields(fields: Fields) -> dict[bytes, bytes]:
    """The fields of an entry as enqueue.lua writes it, or nothing."""
    if tuple(name for name, _ in fields[: len(_JOB)]) != _JOB:
        return {}
    job = dict(reversed(fields))  # of two of a name the first counts
    is_readable = job[b"id"] and _number(job[b"n"], 0) > 0 and not job[b"n"].startswith(b"0")
    try:
        job[b"id"].decode()
    except UnicodeDecodeError:
        return {}
    return job if is_readable else {}


def _arguments(call: Mapping[str, object]) -> tuple[list[object] | None, dict[str, object] | None]:
    if not isinstance(call.get("task"), str):
        return None, None
    args, kwargs = call.get("args", []), call.get("kwargs", {})
    return (
        cast("list[object]", args) if isinstance(args, list) else None,
        cast("dict[str, object]", kwargs) if isinstance(kwargs, dict) else None,
    )


def _victims(raw: bytes) -> Iterator[str]:
    for word in _text(raw).split():
        yield word.rpartition("@")[0] or word


def _history(raw: bytes) -> Iterator[PastFailure]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    for one in cast("list[object]", found) if isinstance(found, list) else []:
        if not isinstance(one, dict):
            continue
        told = cast("dict[str, object]", one)
        died = told.get("died")
        yield PastFailure(
            _moment(died if isinstance(died, int) and died >= 0 else 0),
            _string(told.get("worker")),
            _state(told.get("state")),
            _string(told.get("type")),
            _string(told.get("message")),
        )
