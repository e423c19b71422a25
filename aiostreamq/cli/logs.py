"""Logging as the command line sets it up."""

import argparse

from aiostreamq.worker.logs.formatters import JsonFormatter, TextFormatter
from aiostreamq.worker.logs.setup import LogSetup, begin

__all__ = ["JsonFormatter", "TextFormatter", "set_up_for", "set_up_logging"]


def set_up_for(args: argparse.Namespace, *, imports_app: bool) -> None:
    """Send log lines to stderr as was *args*.

    A process that does not import the app, as the supervisor, has nothing of the app's to
    leave it to.

    Raises:
        UsageError: There is no such level, or no such file.
    """
    is_told = "log_level" in args.sources
    setup = LogSetup(args.log_level, args.log_format, args.log_config, is_told)
    if not imports_app:
        begin(setup)  # what is wrong is said once, and not by each worker
        setup = LogSetup(args.log_level, args.log_format)
    begin(setup)


def set_up_logging(level: str, form: str) -> None:
    """Send log lines of *level* and above to stderr.

    Raises:
        UsageError: There is no such level.
    """
    begin(LogSetup(level, form))
