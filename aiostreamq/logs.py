"""The loggers of the package. A log line is never worth a job: logging here raises nothing.

A log record factory, a filter or a handler of the user's may raise anything, or set the
very fields that a record of ours carries, which `logging` refuses.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

from aiostreamq.signals import is_ctrl_c
from aiostreamq.untrusted import name_of

_NO_ERROR = (None, None, None)
_Raised = tuple[type[BaseException], BaseException, TracebackType | None]


class Log:
    """Says things to one logger of `logging`, of which it has the methods used here."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, said: str, *args: object) -> None:
        """Say something at level DEBUG."""
        self._say(logging.DEBUG, said, args)

    def info(self, said: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Say something at level INFO."""
        self._say(logging.INFO, said, args, extra)

    def warning(
        self,
        said: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
    ) -> None:
        """Say something at level WARNING."""
        self._say(logging.WARNING, said, args, extra, exc_info)

    def error(
        self,
        said: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
        exc_text: str | None = None,
    ) -> None:
        """Say something at level ERROR.

        *exc_text* is what handlers print of the exception, which they need not ask then.
        """
        self._say(logging.ERROR, said, args, extra, exc_info, exc_text)

    def exception(
        self, said: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Say something at level ERROR, with the exception that is being handled."""
        self._say(logging.ERROR, said, args, extra, True)

    def critical(
        self,
        said: str,
        *args: object,
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | bool | None = None,
    ) -> None:
        """Say something at level CRITICAL."""
        self._say(logging.CRITICAL, said, args, extra, exc_info)

    def _say(
        self,
        level: int,
        said: str,
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
            record = logger.makeRecord(logger.name, level, file, line, said, args, raised, function)
            # Not as `extra`: that raises if the user's record factory has set one of them.
            record.__dict__.update(fields or {})
            record.exc_text = exc_text
            logger.handle(record)
        except BaseException as broken:
            if is_ctrl_c(broken):
                raise
            _complain(said, broken)


def get_logger(name: str) -> Log:
    """Return what the package says to the logger of that name."""
    return Log(logging.getLogger(name))


def _raised(exc_info: BaseException | bool | None) -> _Raised | None:
    if isinstance(exc_info, BaseException):
        return type(exc_info), exc_info, exc_info.__traceback__
    found = sys.exc_info() if exc_info else _NO_ERROR
    return None if found[0] is None else found


def _complain(said: str, broken: BaseException) -> None:
    """Say without `logging` that a line could not be logged, as its handlers do."""
    if not logging.raiseExceptions:
        return
    with suppress(BaseException):  # there may be no stderr, or anything in its place
        name = name_of(type(broken))
        sys.stderr.write(f"aiostreamq: logging raised {name}, and this was not logged: {said}\n")
