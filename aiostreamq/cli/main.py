"""`aiostreamq`: one parser, one function per command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from aiostreamq import __version__
from aiostreamq.cli.asking import duration
from aiostreamq.cli.dead import add_dead, dead
from aiostreamq.cli.doctor import add_doctor, doctor
from aiostreamq.cli.info import add_info, add_workers, info, workers
from aiostreamq.cli.jobs import add_enqueue, add_jobs, enqueue, jobs
from aiostreamq.cli.schedules import add_schedules, schedules
from aiostreamq.cli.steering import add_pause, add_resume, pause, resume
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.worker.worker import (
    LEASE,
    MAX_DELIVERIES,
    PROCESSES,
    SHUTDOWN_TIMEOUT,
    SLOW_AFTER,
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
    "dead": dead,
    "pause": pause,
    "resume": resume,
    "schedules": schedules,
    "doctor": doctor,
}

# Probes come from outside: from the node, not from within the container. Who has
# asked for the port wants them to get through, and it tells no secret.
HEALTH_HOST = "0.0.0.0"  # noqa: S104  # on purpose, see above


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 for an orderly end, 2 for wrong usage."""
    try:
        parser = _parser()
        given = list(sys.argv[1:] if arguments is None else arguments)
        told = parser.parse_args(given)
        if told.command == "run":
            # Imported here so that --help and mistakes answer at once.
            from aiostreamq.cli.run import run

            return run(told, given)
        if told.command in _COMMANDS:
            return _COMMANDS[told.command](told)
    except UsageError as error:
        print(f"aiostreamq: {error}", file=sys.stderr)
        return 2
    except AioStreamQError as error:
        print(f"aiostreamq: {error}", file=sys.stderr)
        return 1
    parser.print_help()
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    url = _from_environment("URL")
    for add in _ADDS:
        add(commands.add_parser, url)
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
    _add_numbers(run)
    _add_supervision(run)
    run.add_argument("--burst", action="store_true", help="end when no job is left")
    run.add_argument(
        "--url", default=_from_environment("URL"), help="the Redis to use, over the queue's own"
    )
    run.add_argument(
        "--name", default=_from_environment("NAME"), help="what to call this worker in logs"
    )
    run.add_argument(
        "--lease",
        type=duration,
        default=_from_environment("LEASE", f"{LEASE:g}"),
        help="seconds without a sign of life after which other workers take over "
        "(default: %(default)s)",
    )
    run.add_argument(
        "--shutdown-timeout",
        type=duration,
        default=_from_environment("SHUTDOWN_TIMEOUT", f"{SHUTDOWN_TIMEOUT:g}"),
        help="seconds that running jobs get to end in on SIGTERM (default: %(default)s)",
    )
    _add_recovery_options(run)
    _add_health_options(run)
    run.add_argument(
        "--loop",
        choices=LOOPS,
        default=_chosen_in_environment("LOOP", LOOPS),
        help="the event loop; auto takes uvloop where it is installed",
    )
    run.add_argument(
        "--log-level",
        default=_from_environment("LOG_LEVEL", "info"),
        help="debug, info, warning or error (default: %(default)s)",
    )
    run.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default=_chosen_in_environment("LOG_FORMAT", LOG_FORMATS),
        help="how log lines look (default: %(default)s)",
    )


def _add_numbers(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--concurrency",
        type=int,
        default=_from_environment("CONCURRENCY", "100"),
        help="how many jobs run at once (default: %(default)s)",
    )
    run.add_argument(
        "--lanes",
        default=_from_environment("LANES"),
        help="the lanes to serve, with commas between (default: all)",
    )
    run.add_argument(
        "--processes",
        type=int,
        default=_from_environment("PROCESSES", str(PROCESSES)),
        help="how many jobs of executor='process' tasks run at once (default: one a core)",
    )


def _add_recovery_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--max-deliveries",
        type=int,
        default=_from_environment("MAX_DELIVERIES", f"{MAX_DELIVERIES}"),
        help="a job that was with so many workers when they died is given up "
        "(default: %(default)s)",
    )
    run.add_argument(
        "--slow-after",
        type=duration,
        default=_from_environment("SLOW_AFTER", f"{SLOW_AFTER:g}"),
        help="seconds that a job may block the event loop before that is logged "
        "(default: %(default)s)",
    )


def _add_health_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--health-port",
        type=int,
        default=_from_environment("HEALTH_PORT"),
        help="answer /live and /ready over HTTP at this port (default: do not; 0: any free one)",
    )
    run.add_argument(
        "--health-host",
        default=_from_environment("HEALTH_HOST", HEALTH_HOST),
        help="the address to answer them at (default: %(default)s)",
    )


def _add_supervision(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--workers",
        type=int,
        default=_from_environment("WORKERS", "1"),
        help="how many worker processes to keep (default: %(default)s)",
    )
    run.add_argument(
        "--max-jobs",
        type=int,
        default=_from_environment("MAX_JOBS"),
        help="replace a worker process after about so many jobs",
    )
    run.add_argument(
        "--max-rss",
        default=_from_environment("MAX_RSS"),
        help="replace a worker process that takes more memory, as in 512mb",
    )
    run.add_argument(
        "--reload",
        action="store_true",
        help="for development: restart when Python files under the current directory change",
    )
    # How a supervisor tells a worker that it is one: the number of an open socket.
    run.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)


def _from_environment(option: str, default: str | None = None) -> str | None:
    return os.environ.get(f"AIOSTREAMQ_{option}", default)


def _chosen_in_environment(option: str, choices: tuple[str, ...]) -> str:
    # argparse checks what is typed against the choices, but not a default.
    chosen = os.environ.get(f"AIOSTREAMQ_{option}", choices[0])
    if chosen not in choices:
        raise UsageError(f"AIOSTREAMQ_{option}={chosen!r}: use one of {', '.join(choices)}")
    return chosen
