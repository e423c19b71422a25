"""How log lines look. Only the command line sets logging up; the library never does."""

import json
import logging
import sys
import time
from typing import cast

from aiostreamq.errors import UsageError

# What the library says with a record, in this order.
_FIELDS = ("task", "job_id", "attempt", "worker")


class TextFormatter(logging.Formatter):
    """`12:30:01 INFO    job failed with ValueError  task=size job_id=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; control characters are escaped, so that it stays one."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        told = [record.getMessage(), *(f"{k}={v}" for k, v in _told(record).items())]
        line = f"{at} {record.levelname:<7} {'  '.join(told)}"
        line = line.encode("unicode_escape").decode() if not line.isprintable() else line
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        told: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_told(record),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def set_up_logging(level: str, form: str) -> None:
    """Send log lines of *level* and above to stderr.

    Raises:
        UsageError: There is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"--log-level {level!r}: give debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=number, handlers=[handler], force=True)


def _told(record: logging.LogRecord) -> dict[str, object]:
    said = cast("dict[str, object]", record.__dict__)
    return {name: said[name] for name in _FIELDS if name in said}
