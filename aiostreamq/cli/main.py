"""`aiostreamq`: one parser, one function per command."""

import argparse
import errno
import sys
from collections.abc import Callable, Sequence

from aiostreamq import __version__
from aiostreamq.cli.commands.completion import add_completion, completion
from aiostreamq.cli.commands.dashboard import add_dashboard, dashboard
from aiostreamq.cli.commands.dead_letters import add_dead, dead
from aiostreamq.cli.commands.dev import add_dev, dev
from aiostreamq.cli.commands.doctor import add_doctor, doctor
from aiostreamq.cli.commands.enqueue import add_enqueue, enqueue
from aiostreamq.cli.commands.info import add_info, add_workers, info, workers
from aiostreamq.cli.commands.jobs import add_jobs, jobs
from aiostreamq.cli.commands.limits import add_limits, limits
from aiostreamq.cli.commands.pause import add_pause, add_resume, pause, resume
from aiostreamq.cli.commands.schedules import add_schedules, schedules
from aiostreamq.cli.commands.top import add_top, top
from aiostreamq.cli.named_queue import settle_target
from aiostreamq.cli.output import complain, discard_unwritable, open_missing
from aiostreamq.cli.parser import CommandParser
from aiostreamq.cli.run_options import add_run
from aiostreamq.errors import AioStreamQError, UsageError

# The commands about a queue, in the order of --help.
_ADDS = (
    add_dev,
    add_info,
    add_top,
    add_jobs,
    add_workers,
    add_enqueue,
    add_pause,
    add_resume,
    add_limits,
    add_schedules,
    add_dead,
    add_doctor,
    add_dashboard,
    add_completion,
)
_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "dev": dev,
    "info": info,
    "top": top,
    "jobs": jobs,
    "workers": workers,
    "enqueue": enqueue,
    "dead-letters": dead,
    "dead": dead,  # short for dead-letters
    "pause": pause,
    "resume": resume,
    "limits": limits,
    "schedules": schedules,
    "doctor": doctor,
    "dashboard": dashboard,
    "completion": completion,
}

# The errors of a standard output that cannot be written.
_UNWRITABLE = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}


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
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.command == "run":
        # Imported here, so that --help and mistakes are answered at once.
        from aiostreamq.cli.process.run_command import run

        return run(args, arguments)
    if args.command not in _COMMANDS:
        parser.print_help()
        return 2
    args.parser = parser
    if "target" in args:
        settle_target(args)
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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = CommandParser(
        prog="aiostreamq",
        description="The asyncio-native task queue on Redis Streams.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"aiostreamq {__version__}",
        help="print the version",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_run(commands.add_parser)
    for add in _ADDS:
        add(commands.add_parser)
    return parser
