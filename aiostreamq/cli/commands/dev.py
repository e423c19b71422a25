"""`aiostreamq dev`: a server, a worker that reloads and the dashboard, in one terminal."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_import, checked_url
from aiostreamq.cli.option_values import add_value, duration, port, text, whole
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds that running jobs may take at Ctrl-C and at a change of code.
SHUTDOWN_TIMEOUT = "3"


def add_dev(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    dev = add_parser(
        "dev",
        help="for development: a server, a worker and the dashboard in one terminal",
        description="Start a Redis of its own, a worker that restarts when Python files under the "
        "current directory change, and the dashboard. Ctrl-C ends all, and removes the Redis with "
        "all jobs. The other options of run can be set as AIOSTREAMQ_<OPTION>.",
    )
    dev.add_argument(
        "targets",
        nargs="+",
        metavar="module:queue",
        help="the queue, as package.module:name; several share one worker",
    )
    server = dev.add_argument_group("which Redis")
    server.add_argument(
        "--url", help="a Redis that is there, instead of one of its own; AIOSTREAMQ_URL is not used"
    )
    any_free = "the port of its own Redis (default: any free one)"
    add_value(server, "--redis-port", port, any_free, metavar="PORT", default=0)
    worker = dev.add_argument_group("the worker")
    add_import(worker)
    jobs = "how many jobs run at a time (default: as run has it)"
    add_value(worker, "--concurrency", whole, jobs, metavar="N")
    level = "debug, info, warning or error (default: as run has it)"
    add_value(worker, "--log-level", text, level, metavar="LEVEL")
    patience = "seconds that running jobs may take at the end and at each change of code (default: "
    add_value(
        worker,
        "--shutdown-timeout",
        duration,
        patience + "%(default)s)",
        metavar="TIME",
        default=SHUTDOWN_TIMEOUT,
    )
    shown = dev.add_argument_group("the dashboard")
    free = "its port (default: 8080, or any free one)"
    add_value(shown, "--port", port, free, metavar="PORT")
    shown.add_argument("--no-dashboard", action="store_true", help="leave it out")


def dev(args: argparse.Namespace) -> int:
    """Run `aiostreamq dev` and return the exit code.

    Raises:
        UsageError: An option is wrong, or there is neither a server to start nor `memory://`.
    """
    from aiostreamq.cli.process.dev_session import DevSession

    if args.url is not None and args.redis_port:
        raise UsageError("--url and --redis-port exclude each other: one is there, one is started")
    checked_url(args.url)
    return DevSession(args).run()
