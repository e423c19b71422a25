"""The formatters of log lines. A formatter never raises, for any record."""

import json
import logging
import time
from typing import cast

from aiostreamq.client.current_job import LOG_FIELDS, TRACE_ID
from aiostreamq.model.terminal_text import visible, visible_lines

# The attributes of every record, and those that repeat others.
_STANDARD = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "asctime", "message", "taskName"}
    | {"aiostreamq_job"}
)

# The fields that a filter sets to None if there is no job.
_FROM_FILTER = frozenset((*LOG_FIELDS, TRACE_ID))

# The field for attributes whose names are taken by the line.
_TAKEN = "extra"


class TextFormatter(logging.Formatter):
    """`12:30:01 ERROR   job failed with ValueError: no tea  task=size job_id=...`.

    Lines about a job leave out the worker, as all lines of a process are of the same one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback's lines; none of them can steer a terminal."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = _job_fields(record)
        if "job_id" in fields:
            fields.pop("worker", None)
        parts = [_message(record), *(f"{k}={_text(v)}" for k, v in fields.items())]
        line = visible(f"{at} {record.levelname:<7} {'  '.join(parts)}")
        return "\n".join([line, *map(visible_lines, _below(record).values())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON, with all that `extra=` has added to it."""
        fields: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_job_fields(record),
            **_below(record),
        }
        taken: dict[str, object] = {}
        for name, value in cast("dict[str, object]", record.__dict__).items():
            if name in _STANDARD or value is fields.get(name):
                continue
            if name not in fields and (value is not None or name not in _FROM_FILTER):
                fields[name] = value
            elif name in fields:
                taken[name] = value
        if taken:
            fields[_TAKEN] = {**taken, _TAKEN: fields[_TAKEN]} if _TAKEN in fields else taken
        return _json(fields)


def _job_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what is known of the job of a record."""
    fields = cast("dict[str, object]", record.__dict__)
    job = cast("tuple[str, str, int, str] | None", fields.get("aiostreamq_job"))
    trace = {} if fields.get(TRACE_ID) is None else {TRACE_ID: fields[TRACE_ID]}
    if job is not None:
        return dict(zip(LOG_FIELDS, job, strict=True)) | trace
    if record.name.partition(".")[0] != "aiostreamq":
        return {}
    return {name: fields[name] for name in LOG_FIELDS if fields.get(name) is not None} | trace


def _below(record: logging.LogRecord) -> dict[str, str]:
    """Return what follows the line of a record: traceback and stack."""
    below: dict[str, str] = {}
    if record.exc_text:
        below["traceback"] = record.exc_text
    elif record.exc_info:
        try:
            below["traceback"] = logging.Formatter().formatException(record.exc_info)
        except BaseException:  # noqa: BLE001  # an exception of the user's may do anything
            below["traceback"] = f"{_text(record.exc_info[0])}, which cannot be described"
    if record.stack_info:
        below["stack"] = _text(record.stack_info)
    return {name: text.rstrip("\n") for name, text in below.items()}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except BaseException as error:  # noqa: BLE001  # the arguments are the user's
        wrong = f"{type(error).__name__} in the log call at {record.pathname}:{record.lineno}"
        return f"{_text(record.msg)} ({wrong})"


def _text(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # noqa: BLE001  # its __str__ is the user's
        return f"<{type.__dict__['__name__'].__get__(type(value))} without a readable str()>"


def _json(fields: dict[str, object]) -> str:
    try:
        return json.dumps(fields, default=_text, allow_nan=False)
    except BaseException:  # noqa: BLE001  # something in it is not JSON after all
        return json.dumps({_text(name): _jsonable(value) for name, value in fields.items()})


def _jsonable(value: object) -> object:
    try:
        return json.loads(json.dumps(value, default=_text, allow_nan=False))
    except BaseException:  # noqa: BLE001  # keys that are not strings, cycles, NaN, depth
        return _text(value)
