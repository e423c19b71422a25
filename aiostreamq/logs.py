"""The loggers of the package. Logging here never raises: a log line must not cost a job.

A log record factory, filter or handler of the user may raise anything. It may also set a
field that our records carry, which `logging` refuses.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.untrusted import name_of

_NO_ERROR = (None, None, None)
_Raised = tuple[type[BaseException], BaseException, TracebackType | None]


class Log:
    """A wrapper of one logger of `logging`, with the methods that the package uses."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, *args: object) -> None:
        """Log at level DEBUG."""
        self._log(logging.DEBUG, message, args)

    def info(self, message: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level INFO."""
        self._log(logging.INFO, message, args, extra)

    def warning(
        self,
        message: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
    ) -> None:
        """Log at level WARNING."""
        self._log(logging.WARNING, message, args, extra, exc_info)

    def error(
        self,
        message: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
        exc_text: str | None = None,
    ) -> None:
        """Log at level ERROR.

        Handlers print *exc_text* as the traceback, and do not format the exception themselves.
        """
        self._log(logging.ERROR, message, args, extra, exc_info, exc_text)

    def exception(
        self, message: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log at level ERROR, with the exception that is being handled."""
        self._log(logging.ERROR, message, args, extra, True)

    def critical(
        self,
        message: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
    ) -> None:
        """Log at level CRITICAL."""
        self._log(logging.CRITICAL, message, args, extra, exc_info)

    def _log(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        fields: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
        exc_text: str | None = None,
    ) -> None:
        try:
            logger = self._logger
            if not logger.isEnabledFor(level):
                return
            file, line, function, _ = logger.findCaller(stacklevel=3)
            raised = _raised(exc_info)
            record = logger.makeRecord(
                logger.name, level, file, line, message, args, raised, function
            )
            # Not as `extra`, which raises if the user's record factory has set one of the fields.
            record.__dict__.update(fields or {})
            record.exc_text = exc_text
            logger.handle(record)
        except BaseException as broken:
            if is_ctrl_c(broken):
                raise
            _report(message, broken)


def get_logger(name: str) -> Log:
    """Return the package's wrapper of the logger *name*."""
    return Log(logging.getLogger(name))


def _raised(exc_info: BaseException | bool | None) -> _Raised | None:
    if isinstance(exc_info, BaseException):
        return type(exc_info), exc_info, exc_info.__traceback__
    found = sys.exc_info() if exc_info else _NO_ERROR
    return None if found[0] is None else found


def _report(message: str, broken: BaseException) -> None:
    """Report on stderr that a line could not be logged, as the handlers of `logging` do."""
    if not logging.raiseExceptions:
        return
    with suppress(BaseException):  # stderr may be missing, or replaced by anything
        name = name_of(type(broken))
        sys.stderr.write(f"aiostreamq: logging raised {name}, and this was not logged: {message}\n")
