"""Dead letters as text and JSON. Their content cannot control the terminal."""

import json
from collections.abc import Iterator
from datetime import datetime

from aiostreamq.model.dead_letters import DeadLetter, PastFailure
from aiostreamq.model.terminal_text import visible

# Characters of an error's message in a table. More would not fit beside the ids.
MESSAGE = 60

HEADS = ("LETTER", "DIED (UTC)", "TASK", "STATE", "RUNS", "JOB", "ERROR")


def as_json(letter: DeadLetter) -> str:
    """Return *letter* as one line of JSON."""
    fields = {
        "id": letter.id,
        "job_id": letter.job_id,
        "task": letter.task,
        "state": letter.state,
        "error": letter.error,
        "message": letter.message,
        "traceback": letter.traceback,
        "args": letter.args,
        "kwargs": letter.kwargs,
        "headers": dict(letter.headers),
        "tags": letter.tags,
        "call": None if letter.args is not None else _text(letter.envelope),
        "attempt": letter.attempt,
        "deliveries": letter.deliveries,
        "victims": letter.victims,
        "died_at": letter.died_at.isoformat(),
        "queued_at": letter.queued_at and letter.queued_at.isoformat(),
        "worker": letter.worker,
        "lane": letter.lane,
        "history": [_past(failure) for failure in letter.history],
        "fields": [[_text(name), _text(value)] for name, value in letter.fields],
    }
    return json.dumps(fields)


def as_page(letter: DeadLetter) -> str:
    """Return *letter* in full, for people."""
    lines = [f"{name:<11} {value}" for name, value in _facts(letter) if value]
    if letter.history:
        lines += ["history"]
        lines += [
            f"  {_time(past.died_at)}  {past.state}  {_summary(past.error, past.message)}"
            f"  ({visible(past.worker)})"
            for past in letter.history
        ]
    if letter.fields:
        lines += ["fields"]
        lines += [
            f"  {visible(_text(name))}: {visible(_text(value))}" for name, value in letter.fields
        ]
    if letter.traceback:
        lines += ["", *map(visible, letter.traceback.splitlines())]
    return "\n".join(lines)


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    yield "letter", letter.id
    yield "job", visible(letter.job_id)
    yield "task", visible(letter.task)
    yield "state", letter.state
    yield "error", _summary(letter.error, letter.message)
    yield "args", "" if letter.args is None else json.dumps(letter.args)
    yield "kwargs", "" if letter.kwargs is None else json.dumps(letter.kwargs)
    yield "headers", json.dumps(dict(letter.headers)) if letter.headers else ""
    yield "tags", visible(" ".join(letter.tags))
    yield "call", "" if letter.args is not None else visible(_text(letter.envelope))
    yield "died", _time(letter.died_at)
    yield "queued", _time(letter.queued_at) if letter.queued_at else ""
    yield "worker", visible(letter.worker)
    yield "lane", visible(letter.lane)
    if letter.is_job:
        yield "attempt", str(letter.attempt)
        yield "deliveries", str(letter.deliveries)
        yield "deaths", visible(", ".join(letter.victims))


def as_row(letter: DeadLetter) -> tuple[str, ...]:
    """Return the row of a table for a letter, under HEADS."""
    return (
        letter.id,
        _time(letter.died_at),
        visible(letter.task) or "-",
        letter.state,
        str(letter.deliveries),
        visible(letter.job_id) or "-",
        _summary(letter.error, letter.message[:MESSAGE]),
    )


def _summary(error: str, message: str) -> str:
    return visible(f"{error}: {message}" if message else error)


def _past(failure: PastFailure) -> dict[str, object]:
    return {
        "died_at": failure.died_at.isoformat(),
        "worker": failure.worker,
        "state": failure.state,
        "error": failure.error,
        "message": failure.message,
    }


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
