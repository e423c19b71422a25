"""`aiostreamq run`: one worker process, or several under a supervisor."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from aiostreamq.cli.logs import set_up_for
from aiostreamq.cli.process.lifecycle import run_worker, show_state
from aiostreamq.cli.process.metrics import check_metrics
from aiostreamq.cli.process.recycling import RecyclingLimits
from aiostreamq.cli.process.reload import check_reload
from aiostreamq.cli.process.supervisor_link import GRACE, SupervisorLink
from aiostreamq.errors import UsageError
from aiostreamq.signals_and_forks import keep_from_children
from aiostreamq.worker.leases.heartbeat import PATIENCE_LEASES
from aiostreamq.worker.run.python_command import interpreter

if TYPE_CHECKING:
    from aiostreamq.cli.process.supervisor import Supervisor


def run(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run workers and return the exit code.

    *arguments* is the command line that was parsed into *args*.
    """
    check_metrics(args)
    keep_from_children()
    limits = RecyclingLimits(args.max_jobs, args.max_rss)
    is_supervised = args.supervisor_link is not None
    needs_supervisor = args.workers != 1 or limits != RecyclingLimits(None, None) or args.reload
    set_up_for(args, imports_app=is_supervised or not needs_supervisor)
    if is_supervised:
        link = SupervisorLink(args.supervisor_link, args.shutdown_timeout + GRACE)
        return run_worker(args, limits, link)
    return _supervise(args, arguments) if needs_supervisor else run_worker(args, limits, None)


def _supervise(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    supervisor = supervisor_of(args, arguments)
    return asyncio.run(run_supervisor(supervisor, args))


def supervisor_of(
    args: argparse.Namespace, arguments: Sequence[str], grace: float = GRACE
) -> "Supervisor":
    """Return the supervisor that `aiostreamq run` with *arguments* needs, not started yet.

    Args:
        args: The parsed *arguments*.
        arguments: The command line, whose options the workers get.
        grace: Seconds after its shutdown timeout that a worker may take before it is killed.

    Raises:
        UsageError: The options exclude each other, or the extra for `--reload` is missing.
    """
    # Imported here, as a worker does not need it.
    from aiostreamq.cli.process.supervisor import Supervisor

    if args.reload:
        check_reload()
        if args.burst:
            raise UsageError("--reload and --burst exclude each other: one never ends, one does")

    def command(fd: int, slot: int) -> list[str]:
        link = ["--supervisor-link", str(fd), "--supervisor-slot", str(slot)]
        return [*interpreter(), "-m", "aiostreamq", "run", *link, *arguments[1:]]

    return Supervisor(
        command,
        args.workers,
        patience=args.shutdown_timeout + grace,
        blocked_after=args.lease,
        stuck_after=_stuck_after(args),
        is_burst=args.burst,
        watched=Path.cwd() if args.reload else None,
    )


def _stuck_after(args: argparse.Namespace) -> float:
    """Return the seconds without a turn of its event loop after which a worker is killed."""
    if args.reload:
        return inf  # a debugger may hold it, and the next change of code restarts it
    # After its last heartbeat and one lease more, others have its jobs, and nothing is lost.
    return (PATIENCE_LEASES + 1) * args.lease + args.shutdown_timeout


async def run_supervisor(supervisor: "Supervisor", args: argparse.Namespace) -> int:
    """Keep workers and show their state until the end; return the exit code."""
    async with AsyncExitStack() as stack:
        await show_state(stack, supervisor, args)
        return await supervisor.run()
