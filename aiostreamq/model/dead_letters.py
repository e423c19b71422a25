"""Dead letters: records of jobs that failed for good.

An entry of the dead letter stream begins with how and in which stream the job ended, in this
order: `outcome`, `worker`, `stream`, `entry`. The fields of the job's own entry follow. Any
program with access to Redis can write such an entry, so unreadable parts are left empty and
nothing raises.
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

# A letter that is replayed repeatedly must not grow without bound.
HISTORY_LENGTH = 10
HISTORY_MESSAGE = 200

Fields = Sequence[tuple[bytes, bytes]]

_HEADER = (b"outcome", b"worker", b"stream", b"entry")
_JOB = (b"id", b"n", b"job")
# The largest number in a stream id.
_LAST = 2**64 - 1
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


# Times in an envelope after which its job would not run.
_LIMITS = frozenset({"expires", "deadline"})


@dataclass(frozen=True, slots=True)
class PastFailure:
    """How a job ended before it was replayed."""

    died_at: datetime  #: in UTC
    worker: str  #: name of the worker that had the job
    state: JobState
    error: str  #: qualified name of the exception's class
    message: str  #: its first 200 characters


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The record of a job that failed for good.

    If the entry was not a job, `job_id` and `task` are empty and `fields` holds the entry.
    Unreadable parts are empty or None.
    """

    id: str  #: id of the letter, for `show`, `replay` and `purge`; sorts by time
    job_id: str  #: id of the job; a replay keeps it
    task: str  #: name of the task
    state: JobState  #: how the job ended
    error: str  #: qualified name of the exception's class, as in "ValueError"
    message: str  #: str() of the exception
    traceback: str  #: the task's own frames
    args: list[object] | None  #: as plain JSON, secrets masked; None if they cannot be read
    kwargs: dict[str, object] | None
    attempt: int  #: number of the last attempt, from 1
    deliveries: int  #: how often the job was delivered to a worker, replays included
    victims: tuple[str, ...]  #: workers that died while they had it, since its last outcome
    died_at: datetime  #: when the letter was written, in UTC
    queued_at: datetime | None  #: when the job entered its last stream, in UTC
    worker: str  #: name of the last worker that had it
    lane: str  #: the stream it was in: a lane, or "returned"
    history: tuple[PastFailure, ...]  #: how it ended before each replay, oldest first
    envelope: bytes = field(repr=False)  #: the call as stored: JSON, secrets included
    fields: tuple[tuple[bytes, bytes], ...]  #: the entry, if it was not a job

    @property
    def is_job(self) -> bool:
        """Whether the entry was a job, so that it can be replayed."""
        return bool(self.job_id)

    @property
    def deaths(self) -> int:
        """Number of workers that died while they had the job, since its last outcome."""
        return len(self.victims)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects letters by task and error."""

    task: str | None = None
    error: str | None = None  #: with or without its module

    @property
    def is_open(self) -> bool:
        """Whether every letter matches."""
        return self.task is None and self.error is None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether *letter* matches."""
        if self.task is not None and letter.task != self.task:
            return False
        error = self.error
        return error is None or letter.error == error or letter.error.endswith(f".{error}")


def parse_letter(letter_id: bytes, flat: Sequence[bytes]) -> DeadLetter:
    """Parse an entry of the dead letter stream; *flat* alternates names and values."""
    fields = tuple(zip(flat[::2], flat[1::2], strict=False))
    outcome = worker = stream = entry = b""
    if tuple(name for name, _ in fields[: len(_HEADER)]) == _HEADER:
        outcome, worker, stream, entry = (value for _, value in fields[: len(_HEADER)])
        fields = fields[len(_HEADER) :]
    ended = _object(outcome)
    state = _state(ended.get("state"))
    error, message, traceback = _error(ended.get("error"), state)
    job = _job_fields(fields)
    envelope = job.get(b"job", b"")
    call = _object(envelope)
    mask(call)
    args, kwargs = _arguments(call)
    return DeadLetter(
        id=_text(letter_id),
        job_id=_text(job.get(b"id", b"")),
        task=_string(call.get("task")) or _string(ended.get("task")),
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
    """Return the history of a job whose last failure is *letter*, as its entry stores it."""
    last = PastFailure(letter.died_at, letter.worker, letter.state, letter.error, letter.message)
    failures = [
        {
            "died": round(failure.died_at.timestamp() * 1000),
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
    call = dict(_object(letter.envelope))
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
    unmask(call, _object(letter.envelope))
    positional, named = _arguments(call)
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
    ttl = _object(letter.envelope).get("result_ttl")
    return (own_ttl if ttl is None else ttl) != 0


def is_letter_id(text: str) -> bool:
    """Whether *text* has the form of a letter's id.

    >>> is_letter_id("1764000000000-0"), is_letter_id("019ab3c4d5eXyz")
    (True, False)
    """
    ms, dash, number = text.partition("-")
    return dash == "-" and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) <= _LAST
        for part in (ms, number)
    )


def id_before(letter_id: str) -> str:
    """Return the largest id that is smaller.

    >>> id_before("1764000000000-1"), id_before("1764000000000-0")
    ('1764000000000-0', '1763999999999-18446744073709551615')
    """
    ms, number = _place(letter_id)
    if number:
        return f"{ms}-{number - 1}"
    return last_id_of(ms - 1) if ms else letter_id


def id_after(letter_id: str) -> str:
    """Return the smallest id that is larger.

    >>> id_after("1764000000000-0")
    '1764000000000-1'
    """
    ms, number = _place(letter_id)
    return f"{ms}-{number + 1}" if number < _LAST else f"{ms + 1}-0"


def last_id_of(ms: int) -> str:
    """Return the largest id of a millisecond; times before 1970 count as 0."""
    return f"{max(0, ms)}-{_LAST}"


def earlier(one: str, other: str) -> str:
    """Return the smaller of two ids; "+" is larger than all others.

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
    # int() alone would accept " 1_000" and raise for 5,000 digits. No number that aiostreamq
    # writes has more than 15 digits, and Lua would lose precision beyond that.
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


def _state(value: object) -> JobState:
    try:
        return JobState(cast("str", value))
    except ValueError:
        return JobState.DEAD


def _error(found: object, state: JobState) -> tuple[str, str, str]:
    if isinstance(found, dict):
        error = cast("dict[str, object]", found)
        kind, message, traceback = map(error.get, ("type", "message", "traceback"))
        return _string(kind), _string(message), _string(traceback)
    if state is JobState.TIMED_OUT:
        # The name that retry rules use; the outcome holds only the state.
        return "TimeoutError", "the task ran past its timeout", ""
    return "", "", ""


def _job_fields(fields: Fields) -> dict[bytes, bytes]:
    """Return the fields of an entry that has the form of enqueue.lua's, or nothing."""
    if tuple(name for name, _ in fields[: len(_JOB)]) != _JOB:
        return {}
    job = dict(reversed(fields))  # if a name occurs twice, the first counts
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
    for death in _text(raw).split():  # name@ms
        yield death.rpartition("@")[0] or death


def _history(raw: bytes) -> Iterator[PastFailure]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    for one in cast("list[object]", found) if isinstance(found, list) else []:
        if not isinstance(one, dict):
            continue
        failure = cast("dict[str, object]", one)
        died = failure.get("died")
        yield PastFailure(
            _moment(died if isinstance(died, int) and died >= 0 else 0),
            _string(failure.get("worker")),
            _state(failure.get("state")),
            _string(failure.get("type")),
            _string(failure.get("message")),
        )
