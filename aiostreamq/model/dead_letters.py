"""Dead letters: records of jobs that failed for good.

An entry of the dead letter stream begins with how and in which stream the job ended, in this
order: `outcome`, `worker`, `stream`, `entry`. The fields of the job's own entry follow. Any
program with access to Redis can write such an entry, so unreadable parts are left empty and
nothing raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import cast

import orjson

from aiostreamq.model.job_state import JobState
from aiostreamq.model.metadata import readable_metadata
from aiostreamq.model.record import record
from aiostreamq.model.stored import json_object, number, string, text
from aiostreamq.model.time import moment
from aiostreamq.model.values.masking import mask

Fields = Sequence[tuple[bytes, bytes]]

_HEADER = (b"outcome", b"worker", b"stream", b"entry")
_JOB = (b"id", b"n", b"job")


@record
class PastFailure:
    """How a job ended before it was replayed."""

    died_at: datetime  #: in UTC
    worker: str  #: name of the worker that had the job
    state: JobState
    error: str  #: qualified name of the exception's class
    message: str  #: its first 200 characters


@record
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
    #: the headers of the job; empty if they cannot be read
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()  #: the tags of the job, likewise
    #: the tasks of its callbacks by option, `on_success` and `on_failure`, likewise
    callbacks: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None  #: id of the job whose callback it is, likewise

    @property
    def is_job(self) -> bool:
        """Whether the entry was a job, so that it can be replayed."""
        return bool(self.job_id)

    @property
    def deaths(self) -> int:
        """Number of workers that died while they had the job, since its last outcome."""
        return len(self.victims)


@record
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
    ended = json_object(outcome)
    state = _state(ended.get("state"))
    error, message, traceback = _error(ended.get("error"), state)
    job = _job_fields(fields)
    envelope = job.get(b"job", b"")
    call = json_object(envelope)
    mask(call)
    args, kwargs = arguments_of(call)
    metadata = readable_metadata(call)
    return DeadLetter(
        id=text(letter_id),
        job_id=text(job.get(b"id", b"")),
        task=string(call.get("task")) or string(ended.get("task")),
        state=state,
        error=error,
        message=message,
        traceback=traceback,
        args=args,
        kwargs=kwargs,
        attempt=number(job.get(b"a"), 1),
        deliveries=number(job.get(b"n"), 0),
        victims=tuple(_victims(job.get(b"d", b""))),
        died_at=moment(number(letter_id.partition(b"-")[0], 0)),
        queued_at=_queued_at(entry),
        worker=text(worker),
        lane=text(stream).partition("}:stream:")[2],
        history=tuple(_history(job.get(b"h", b""))),
        envelope=envelope,
        fields=() if job else fields,
        headers=metadata.headers,
        tags=metadata.tags,
        callbacks=metadata.callbacks.tasks,
        parent=metadata.parent,
    )


def _queued_at(entry: bytes) -> datetime | None:
    ms = number(entry.partition(b"-")[0], 0)
    return moment(ms) if ms else None


def _state(value: object) -> JobState:
    try:
        return JobState(cast("str", value))
    except ValueError:
        return JobState.DEAD


def _error(found: object, state: JobState) -> tuple[str, str, str]:
    if isinstance(found, dict):
        error = cast("dict[str, object]", found)
        kind, message, traceback = map(error.get, ("type", "message", "traceback"))
        return string(kind), string(message), string(traceback)
    if state is JobState.TIMED_OUT:
        # The name that retry rules use; the outcome holds only the state.
        return "TimeoutError", "the task ran past its timeout", ""
    return "", "", ""


def _job_fields(fields: Fields) -> dict[bytes, bytes]:
    """Return the fields of an entry that has the form of enqueue.lua's, or nothing."""
    if tuple(name for name, _ in fields[: len(_JOB)]) != _JOB:
        return {}
    job = dict(reversed(fields))  # if a name occurs twice, the first counts
    is_readable = job[b"id"] and number(job[b"n"], 0) > 0 and not job[b"n"].startswith(b"0")
    try:
        job[b"id"].decode()
    except UnicodeDecodeError:
        return {}
    return job if is_readable else {}


def arguments_of(
    call: Mapping[str, object],
) -> tuple[list[object] | None, dict[str, object] | None]:
    """Return the arguments of a call; None for each kind that cannot be read."""
    if not isinstance(call.get("task"), str):
        return None, None
    args, kwargs = call.get("args", []), call.get("kwargs", {})
    return (
        cast("list[object]", args) if isinstance(args, list) else None,
        cast("dict[str, object]", kwargs) if isinstance(kwargs, dict) else None,
    )


def _victims(raw: bytes) -> Iterator[str]:
    for death in text(raw).split():  # name@ms
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
            moment(died if isinstance(died, int) and died >= 0 else 0),
            string(failure.get("worker")),
            _state(failure.get("state")),
            string(failure.get("type")),
            string(failure.get("message")),
        )
