"""How log lines look. Whatever a record holds, a formatter raises nothing."""

import json
import logging
import time
from typing import cast

from aiostreamq.client.current_job import CurrentJob
from aiostreamq.model.terminal_text import visible, visible_lines

# What the library says with a record, in this order.
FIELDS = (*CurrentJob._fields, "worker")

# What every record has, and what is no news beside that.
_STANDARD = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "asctime", "message", "taskName"}
    | {"aiostreamq_job"}
)

# Where the other names of a record go that are names of the line, too.
_TAKEN = "extra"


class TextFormatter(logging.Formatter):
    """`12:30:01 ERROR   job failed with ValueError: no tea  task=size job_id=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback's lines; none of them can steer a terminal."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        told = [_message(record), *(f"{k}={_word(v)}" for k, v in _told(record).items())]
        line = visible(f"{at} {record.levelname:<7} {'  '.join(told)}")
        return "\n".join([line, *map(visible_lines, _below(record).values())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON, with all that `extra=` has added to it."""
        told: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_told(record),
            **_below(record),
        }
        taken: dict[str, object] = {}
        for name, value in cast("dict[str, object]", record.__dict__).items():
            if name in _STANDARD or value is told.get(name):
                continue
            # None is what a filter has put there for want of a job.
            if name not in told and (name not in FIELDS or value is not None):
                told[name] = value
            elif name in told:
                taken[name] = value
        if taken:
            told[_TAKEN] = {**taken, _TAKEN: told[_TAKEN]} if _TAKEN in told else taken
        return _json(told)


def _told(record: logging.LogRecord) -> dict[str, object]:
    """What is known of the job that a record is about."""
    fields = cast("dict[str, object]", record.__dict__)
    job = cast("tuple[str, str, int] | None", fields.get("aiostreamq_job"))
    if job is not None:
        return dict(zip(CurrentJob._fields, job, strict=True))
    if record.name.partition(".")[0] != "aiostreamq":
        return {}
    return {name: fields[name] for name in FIELDS if fields.get(name) is not None}


def _below(record: logging.LogRecord) -> dict[str, str]:
    """What follows the line of a record: traceback and stack."""
    below: dict[str, str] = {}
    if record.exc_text:
        below["traceback"] = record.exc_text
    elif record.exc_info:
        try:
            below["traceback"] = logging.Formatter().formatException(record.exc_info)
        except BaseException:  # noqa: BLE001  # an exception of the user's may do anything
            below["traceback"] = f"{_word(record.exc_info[0])}, which cannot be described"
    if record.stack_info:
        below["stack"] = _word(record.stack_info)
    return {name: text.rstrip("\n") for name, text in below.items()}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except BaseException as error:  # noqa: BLE001  # the arguments are the user's
        wrong = f"{type(error).__name__} in the log call at {record.pathname}:{record.lineno}"
        return f"{_word(record.msg)} ({wrong})"


def _word(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # noqa: BLE001  # its __str__ is the user's
        return f"<{type.__dict__['__name__'].__get__(type(value))} without a readable str()>"


def _json(told: dict[str, object]) -> str:
    try:
        return json.dumps(told, default=_word, allow_nan=False)
    except BaseException:  # noqa: BLE001  # something in it is no JSON after all
        return json.dumps({_word(name): _jsonable(value) for name, value in told.items()})


def _jsonable(value: object) -> object:
    try:
        return json.loads(json.dumps(value, default=_word, allow_nan=False))
    except BaseException:  # noqa: BLE001  # keys that are no strings, cycles, NaN, depth
        return _word(value)
