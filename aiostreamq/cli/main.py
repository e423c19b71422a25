"""`aiostreamq`: one parser, one function per command."""

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from aiostreamq import __version__
from aiostreamq.cli.commands.dead_letters import add_dead, dead
from aiostreamq.cli.commands.doctor import add_doctor, doctor
from aiostreamq.cli.commands.enqueue import add_enqueue, enqueue
from aiostreamq.cli.commands.info import add_info, add_workers, info, workers
from aiostreamq.cli.commands.jobs import add_jobs, jobs
from aiostreamq.cli.commands.pause import add_pause, add_resume, pause, resume
from aiostreamq.cli.commands.schedules import add_schedules, schedules
from aiostreamq.cli.connect import add_import
from aiostreamq.cli.option_sources import add_flag, from_variable
from aiostreamq.cli.option_sources import add_sourced as _add
from aiostreamq.cli.option_values import choice, duration, port, text, whole
from aiostreamq.cli.output import complain, discard_unwritable, open_missing
from aiostreamq.cli.process.recycling import size
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.worker.settings import (
    LEASE,
    LOOP_BLOCK_WARNING,
    MAX_HELD_BYTES,
    MAX_WORKER_DEATHS,
    PROCESSES,
    SHORTEST_LEASE,
    SHUTDOWN_TIMEOUT,
    THREADS,
)

# The first of each is the default.
LOOPS = ("auto", "asyncio", "uvloop")
LOG_FORMATS = ("text", "json")

# The commands about a queue, in the order of --help.
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
    "dead": dead,  # short for dead-letters
    "pause": pause,
    "resume": resume,
    "schedules": schedules,
    "doctor": doctor,
}

# The errors of a standard output that cannot be written.
_UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}

# Probes come from outside the container, from the node. --health-port asks for them, and the
# answers hold no secret.
HEALTH_HOST = "0.0.0.0"  # noqa: S104  # on purpose, see above


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 for an orderly end, 2 for wrong usage."""
    open_missing()
    try:
        return _run_command(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        complain(f"aiostreamq: {error}")
        return 2
    except AioStreamQError as error:
        complain(f"aiostreamq: {error}")
        return 1
    finally:
        discard_unwritable()


def _run_command(arguments: Sequence[str]) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.command == "run":
        # Imported here, so that --help and mistakes are answered at once.
        from aiostreamq.cli.process.run_command import run

        return run(args, arguments)
    if args.command not in _COMMANDS:
        parser.print_help()
        return 2
    try:
        code = _COMMANDS[args.command](args)
        sys.stdout.flush()  # inside of the try, to catch its error
    except BrokenPipeError:
        return 0  # the reader of the output, such as `head`, has closed it
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        complain(f"aiostreamq: the standard output cannot be written: {error.strerror}")
        return 1
    return code


class _Parser(argparse.ArgumentParser):
    """A parser whose errors hold no passwords of the command line."""

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
        help="print the version",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands.add_parser)
    for add in _ADDS:
        add(commands.add_parser, from_variable("--url"))
    return parser


def _add_run(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    run = add_parser(
        "run",
        help="run the jobs of a queue",
        description="Run the jobs of a queue until SIGINT or SIGTERM. The first signal drains: "
        "running jobs may finish. The second leaves at once. Every option can be set as "
        "AIOSTREAMQ_<OPTION> too, a flag with 1.",
    )
    run.add_argument("target", help="the queue, as package.module:name")
    add_import(run)
    _add_numbers(run)
    _add_supervision(run)
    add_flag(run, "--burst", "exit when no job is left")
    _add(run, "--url", text, None, "the Redis to use instead of the queue's own")
    _add(run, "--name", text, None, "the name of this worker in logs")
    _add_times(run)
    _add_health(run)
    _add_choice(run, "--loop", LOOPS, "the event loop; auto is uvloop if it is installed")
    _add_logs(run)


def _add_logs(run: argparse.ArgumentParser) -> None:
    levels = "debug, info, warning or error (default: %(default)s)"
    _add(run, "--log-level", text, "info", levels)
    _add_choice(run, "--log-format", LOG_FORMATS, "the format of log lines (default: %(default)s)")
    _add(
        run,
        "--log-config",
        text,
        None,
        "none to leave logging to the app, or a file for logging.config (default: log to stderr "
        "unless the app sets logging up)",
        metavar="{none,FILE}",
    )
    add_flag(run, "--log-jobs", "log the start and the end of each job")


def _add_numbers(run: argparse.ArgumentParser) -> None:
    _add(run, "--concurrency", whole, "100", "how many jobs run at a time (default: %(default)s)")
    _add(run, "--lanes", text, None, "the lanes to serve, separated by commas (default: all)")
    _add(
        run,
        "--threads",
        whole,
        f"{THREADS}",
        "how many jobs of `def` tasks run at a time in threads (default: %(default)s)",
    )
    _add(
        run,
        "--processes",
        whole,
        f"{PROCESSES}",
        "how many jobs of executor='process' tasks run at a time (default: one per core)",
    )
    _add(
        run,
        "--max-worker-deaths",
        whole,
        f"{MAX_WORKER_DEATHS}",
        "give a job up after this many workers died while they had it (default: %(default)s)",
    )
    _add(
        run,
        "--max-held-bytes",
        size,
        f"{MAX_HELD_BYTES // 1024**2}mb",
        "run fewer jobs at a time while their payloads take more (default: %(default)s)",
    )


def _add_supervision(run: argparse.ArgumentParser) -> None:
    _add(run, "--workers", whole, "1", "how many worker processes to keep (default: %(default)s)")
    _add(run, "--max-jobs", whole, None, "replace a worker process after about this many jobs")
    _add(
        run,
        "--max-rss",
        size,
        None,
        "replace a worker process that takes more memory: 512mb",
    )
    add_flag(
        run,
        "--reload",
        "for development: restart when Python files under the current directory change",
    )
    # The number of an open socket, by which a supervisor starts its workers.
    run.add_argument("--supervisor-link", type=int, help=argparse.SUPPRESS)


def _add_times(run: argparse.ArgumentParser) -> None:
    _add(
        run,
        "--lease",
        partial(duration, least=SHORTEST_LEASE),
        f"{LEASE:g}",
        "seconds of silence after which others take a worker's jobs (default: %(default)s)",
    )
    _add(
        run,
        "--shutdown-timeout",
        duration,
        f"{SHUTDOWN_TIMEOUT:g}",
        "seconds that running jobs may take to finish after SIGTERM (default: %(default)s)",
    )
    _add(
        run,
        "--loop-block-warning",
        duration,
        f"{LOOP_BLOCK_WARNING:g}",
        "seconds that a job may block the event loop before a warning (default: %(default)s)",
    )


def _add_health(run: argparse.ArgumentParser) -> None:
    _add(
        run,
        "--health-port",
        port,
        None,
        "answer /live and /ready over HTTP at this port; 0: any free one (default: no port)",
    )
    _add(
        run,
        "--health-host",
        text,
        HEALTH_HOST,
        "the address of that port (default: %(default)s)",
    )


def _add_choice(
    run: argparse.ArgumentParser, option: str, choices: tuple[str, ...], meaning: str
) -> None:
    read, shown = partial(choice, choices=choices), f"{{{','.join(choices)}}}"
    _add(run, option, read, choices[0], meaning, metavar=shown)
