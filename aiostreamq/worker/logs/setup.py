"""Setting logging up, for the programs of this package: the library itself never does.

Done twice: before the user's modules are imported, so that what happens then is seen, and
after that, when they may have set logging up themselves. `--log-config` says who decides; by
default the app prints what it logs itself, and all else is printed here.
"""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

from aiostreamq.client.current_job import JobFilter
from aiostreamq.errors import UsageError
from aiostreamq.model.record import record
from aiostreamq.worker.logs.formatters import JsonFormatter, TextFormatter

#: The value of `--log-config` that is not a file.
NONE = "none"


@record
class LogSetup:
    """How a program logs."""

    level: str = "info"
    form: str = "text"  #: text or json
    config: str | None = None  #: `none`, a file, or None for the default
    is_level_given: bool = False  #: the level is asked for, over that of the app


class Lines(logging.StreamHandler[TextIO]):
    """Prints log lines to stderr, unless a logger of the app's prints them already."""

    def __init__(self, form: str) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
        self.addFilter(JobFilter())
        self.addFilter(_is_unprinted)


class _Setting:
    """The logging of this process, which has one set-up."""

    setup: LogSetup | None = None  # None: nothing, as in an embedded worker
    lines: Lines | None = None


def begin(setup: LogSetup) -> None:
    """Print log lines, from before the app is imported.

    Raises:
        UsageError: There is no such level, or no such file.
    """
    number = logging.getLevelNamesMapping().get(setup.level.upper())
    if number is None:
        raise UsageError(f"--log-level {setup.level!r}: give debug, info, warning or error")
    if setup.config not in {None, NONE} and not Path(str(setup.config)).is_file():
        raise UsageError(f"--log-config {setup.config!r}: there is no such file")
    _Setting.setup = setup
    if setup.config != NONE:
        _Setting.lines = Lines(setup.form)
        logging.basicConfig(level=number, handlers=[_Setting.lines], force=True)


def complete() -> None:
    """Finish what `begin` began, once the app is imported.

    Raises:
        UsageError: The file of `--log-config` sets nothing up.
    """
    setup, lines = _Setting.setup, _Setting.lines
    if setup is None or lines is None:
        return
    root = logging.getLogger()
    if setup.config is not None:
        root.removeHandler(lines)
        _read_config(setup.config)
    elif not root.handlers:
        root.addHandler(lines)
    elif any(_is_printer(handler) for handler in root.handlers if handler is not lines):
        root.removeHandler(lines)  # or each line would be there twice
    if setup.is_level_given:
        root.setLevel(setup.level.upper())
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    for handler in {handler for logger in (root, *loggers) for handler in logger.handlers}:
        if not any(isinstance(one, JobFilter) for one in handler.filters):
            handler.addFilter(JobFilter())
    # dictConfig and fileConfig switch all loggers off that were there before, if they are
    # not configured otherwise. A worker must not become silent by that.
    for logger in loggers:
        if logger.name.partition(".")[0] == "aiostreamq":
            logger.disabled = False


def current_setup() -> LogSetup | None:
    """Return how this process logs; None if the application decides."""
    return _Setting.setup


def _read_config(name: str) -> None:
    # Imported here: it imports pickle and socketserver, and each worker would wait for them.
    import logging.config

    path = Path(name)
    try:
        if path.suffix not in {".json", ".toml"}:
            logging.config.fileConfig(path, disable_existing_loggers=False)
            return
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, **_dict_in(path)}
        )
    except Exception as error:  # whatever its classes raise
        raise UsageError(
            f"--log-config {name!r}: {error.__cause__ or error} (a .json or .toml file is read by "
            f"logging.config.dictConfig, any other by fileConfig)"
        ) from error


def _dict_in(path: Path) -> dict[str, object]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    import json

    found: object = json.loads(text)
    if not isinstance(found, dict):
        raise UsageError("it must hold an object")
    return cast("dict[str, object]", found)


def _is_unprinted(record: logging.LogRecord) -> bool:
    """Whether no logger below the root prints *record*."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger is not logging.root:
        if any(_is_printer(handler) for handler in logger.handlers):
            return False
        logger = logger.parent
    return True


def _is_printer(handler: logging.Handler) -> bool:
    """Whether *handler* writes to this process's stdout or stderr."""
    # rich's has a console that has the file.
    stream = getattr(handler, "stream", None) or getattr(
        getattr(handler, "console", None), "file", None
    )
    if stream is None:
        return False
    if any(stream is one for one in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        return True
    with suppress(Exception):  # anything may stand where a stream should
        return stream.fileno() in {1, 2}
    return False
