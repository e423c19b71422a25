"""`aiostreamq`: one parser, one function per command."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from aiostreamq import __version__
from aiostreamq.cli.arguments import choice, duration, port, text, whole
from aiostreamq.cli.commands.dead_letters import add_dead, dead
from aiostreamq.cli.commands.doctor import add_doctor, doctor
from aiostreamq.cli.commands.enqueue import add_enqueue, enqueue
from aiostreamq.cli.commands.info import add_info, add_workers, info, workers
from aiostreamq.cli.commands.jobs import add_jobs, jobs
from aiostreamq.cli.commands.pause import add_pause, add_resume, pause, resume
from aiostreamq.cli.commands.schedules import add_schedules, schedules
from aiostreamq.cli.connect import add_import
from aiostreamq.cli.option_sources import add_sourced as _add
from aiostreamq.cli.option_sources import variable_of
from aiostreamq.cli.output import complain, give_up_unwritable, open_missing
from aiostreamq.cli.process.recycling import size
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.worker.worker import (
    LEASE,
    LOOP_BLOCK_WARNING,
    MAX_WORKER_DEATHS,
    PROCESSES,
    SHORTEST_LEASE,
    SHUTDOWN_TIMEOUT,
    THREADS,
)

# The first of each is the default.
LOOPS = ("auto", "asyncio", "uvloop")
LOG_FORMATS = ("text", "json")

# What is asked of a queue, in the order in which --help tells it.
_ADDS = (
    add_info,
    add_jobs,
    add_workers,
    add_enqueue,
    add_pause,
    add_resume,
    add_schedules,
    add_dead,
    add_doctor,
)
_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "info": info,
    "jobs": jobs,
    "workers": workers,
    "enqueue": enqueue,
    "dead-letters": dead,
    "dead": dead,  # for short
    "pause": pause,
    "resume": resume,
    "schedules": schedules,
    "doctor": doctor,
}

# What says that the standard output takes nothing.
_UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}

# Probes come from outside: from the node, not from within the container. Who has
# asked for the port wants them to get through, and it tells no secret.
HEALTH_HOST = "0.0.0.0"  # noqa: S104  # on purpose, see above


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 for an orderly end, 2 for wrong usage."""
    open_missing()
    try:
        return _obey(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        complain(f"aiostreamq: {error}")
        return 2
    except AioStreamQError as error:
        complain(f"aiostreamq: {error}")
        return 1
    finally:
        give_up_unwritable()


def _obey(given: Sequence[str]) -> int:
    parser = _parser()
    args = parser.parse_args(given)
    if args.command == "run":
        # Imported here so that --help and mistakes answer at once.
        from aiostreamq.cli.process.run import run

        return run(args, given)
    if args.command not in _COMMANDS:
        parser.print_help()
        return 2
    try:
        code = _COMMANDS[args.command](args)
        sys.stdout.flush()  # here, where it is caught
    except BrokenPipeError:
        return 0  # whoever reads what is printed has had enough, as `head` has
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        complain(f"aiostreamq: the standard output cannot be written: {error.strerror}")
        return 1
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line without what it may hold of passwords."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and *message*, and exit with 2."""
        complain(f"{self.format_usage()}{self.prog}: error: {message}")
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aiostreamq", description="The asyncio-native task queue on Redis Streams."
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"aiostreamq {__version__}",
        help="say which version this is",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands.add_parser)
    for add in _ADDS:
        add(commands.add_parser, os.environ.get(variable_of("--url")) or None)
    return parser


def _add_run(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    run = add_parser(
        "run",
        help="run the jobs of a queue",
        description="Run the jobs of a queue until SIGINT or SIGTERM; the first drains, "
        "the second leaves at once. Every option with a value can be given as "
        "AIOSTREAMQ_<OPTION> too.",
    )
    run.add_argument("target", help="where the queue is: package.module:name")
    add_import(run)
    _add_numbers(run)
    _add_supervision(run)
    run.add_argument("--burst", action="store_true", help="end when no job is left")
    _add(run, "--url", text, None, "the Redis to use, over the queue's own")
    _add(run, "--name", text, None, "what to call this worker in logs")
    _add_times(run)
    _add_health(run)
    _add_choice(run, "--loop", LOOPS, "the event loop; auto takes uvloop where it is installed")
    _add_logs(run)


def _add_logs(run: argparse.ArgumentParser) -> None:
    levels = "debug, info, warning or error (default: %(default)s)"
    _add(run, "--log-level", text, "info", levels)
    _add_choice(run, "--log-format", LOG_FORMATS, "how log lines look (default: %(default)s)")
    _add(
        run,
        "--log-config",
        text,
        None,
        "none: leave logging to the app; or a file, for logging.config (default: log to stderr "
        "unless the app does)",
        metavar="{none,FILE}",
    )
    run.add_argument(
        "--log-jobs", action="store_true", help="log when each job starts, and when it is done"
    )


def _add_numbers(run: argparse.ArgumentParser) -> None:
    _add(run, "--concurrency", whole, "100", "how many jobs run at once (default: %(default)s)")
    _add(run, "--lanes", text, None, "the lanes to serve, with commas between (default: all)")
    _add(
        run,
        "--threads",
        whole,
        f"{THREADS}",
        "how many jobs of `def` tasks run at once in threads (default: %(default)s)",
    )
    _add(
        run,
        "--processes",
        whole,
        f"{PROCESSES}",
        "how many jobs of executor='process' tasks run at once (default: one a core)",
    )
    _add(
        run,
        "--max-worker-deaths",
        whole,
        f"{MAX_WORKER_DEATHS}",
        "a job that was with so many workers when they died is given up (default: %(default)s)",
    )


def _add_supervision(run: argparse.ArgumentParser) -> None:
    _add(run, "--workers", whole, "1", "how many worker processes to keep (default: %(default)s)")
    _add(run, "--max-jobs", whole, None, "replace a worker process after about so many jobs")
    _add(
        run, "--max-rss", size, None, "replace a worker process that takes more memory, as in 512mb"
    )
    run.add_argument(
        "--reload",
        action="store_true",
        help="for development: restart when Python files under the current directory change",
    )
    # How a supervisor tells a worker that it is one: the number of an open socket.
    run.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)


def _add_times(run: argparse.ArgumentParser) -> None:
    _add(
        run,
        "--lease",
        partial(duration, least=SHORTEST_LEASE),
        f"{LEASE:g}",
        "seconds without a sign of life after which other workers take over (default: %(default)s)",
    )
    _add(
        run,
        "--shutdown-timeout",
        duration,
        f"{SHUTDOWN_TIMEOUT:g}",
        "seconds that running jobs get to end in on SIGTERM (default: %(default)s)",
    )
    _add(
        run,
        "--loop-block-warning",
        duration,
        f"{LOOP_BLOCK_WARNING:g}",
        "seconds that a job may block the event loop before that is logged (default: %(default)s)",
    )


def _add_health(run: argparse.ArgumentParser) -> None:
    _add(
        run,
        "--health-port",
        port,
        None,
        "answer /live and /ready over HTTP at this port (default: do not; 0: any free one)",
    )
    _add(
        run,
        "--health-host",
        text,
        HEALTH_HOST,
        "the address to answer them at (default: %(default)s)",
    )


def _add_choice(
    run: argparse.ArgumentParser, option: str, choices: tuple[str, ...], meaning: str
) -> None:
    read, shown = partial(choice, choices=choices), f"{{{','.join(choices)}}}"
    _add(run, option, read, choices[0], meaning, metavar=shown)
