"""The logging of the command line."""

import argparse
import logging
import os

from aiostreamq.worker.logs.formatters import JsonFormatter, TextFormatter
from aiostreamq.worker.logs.setup import LogSetup, begin

__all__ = ["JsonFormatter", "TextFormatter", "exit_at_once", "set_up_for", "set_up_logging"]


def set_up_for(args: argparse.Namespace, *, imports_app: bool) -> None:
    """Set logging up as the options of `aiostreamq run` ask for.

    A process that does not import the app, such as the supervisor, cannot leave logging to it.

    Raises:
        UsageError: There is no such level, or no such file.
    """
    is_level_given = "log_level" in args.sources
    setup = LogSetup(args.log_level, args.log_format, args.log_config, is_level_given)
    if not imports_app:
        begin(setup)  # so that an error is printed once, and not by each worker
        setup = LogSetup(args.log_level, args.log_format)
    begin(setup)


def set_up_logging(level: str, form: str) -> None:
    """Send log lines of *level* and above to stderr.

    Raises:
        UsageError: There is no such level.
    """
    begin(LogSetup(level, form))


def exit_at_once(code: int) -> None:
    """End the process now, after all log lines are written: threads of tasks may never end."""
    logging.raiseExceptions = False  # a handler or output of the user's may raise
    logging.shutdown()
    os._exit(code)
