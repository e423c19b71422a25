"""`aiostreamq run`: a worker as a process of its own, or several under a supervisor."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from aiostreamq.cli.logs import set_up_for
from aiostreamq.cli.process.lifecycle import show_state, work
from aiostreamq.cli.process.recycling import RecyclingLimits
from aiostreamq.cli.process.reload import check_reload
from aiostreamq.cli.process.supervisor_link import GRACE, SupervisorLink
from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.signals import keep_from_children
from aiostreamq.worker.leases.heartbeat import PATIENCE_LEASES
from aiostreamq.worker.run.interpreter import interpreter

if TYPE_CHECKING:
    from aiostreamq.cli.process.supervisor import Supervisor

logger = get_logger("aiostreamq.cli")


def run(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run workers as *args* on the command line, whose *arguments* these are.

    Returns the exit code.
    """
    keep_from_children()
    limits = RecyclingLimits(args.max_jobs, args.max_rss)
    is_supervised = args.lifeline is not None
    needs_supervisor = args.workers != 1 or limits != RecyclingLimits(None, None) or args.reload
    set_up_for(args, imports_app=is_supervised or not needs_supervisor)
    if is_supervised:
        return work(args, limits, SupervisorLink(args.lifeline, args.shutdown_timeout + GRACE))
    return _supervise(args, arguments) if needs_supervisor else work(args, limits, None)


def _supervise(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    # Only the supervisor needs it.
    from aiostreamq.cli.process.supervisor import Supervisor

    if args.reload:
        check_reload()
        if args.burst:
            raise UsageError("--reload never ends, --burst does: give one of them")

    def command(lifeline: int) -> list[str]:
        told_first = ["run", "--lifeline", str(lifeline)]
        return [*interpreter(), "-m", "aiostreamq", *told_first, *arguments[1:]]

    supervisor = Supervisor(
        command,
        args.workers,
        patience=args.shutdown_timeout + GRACE,
        blocked_after=args.lease,
        stuck_after=_stuck_after(args),
        is_burst=args.burst,
        watched=Path.cwd() if args.reload else None,
    )
    return asyncio.run(_keep(supervisor, args))


def _stuck_after(args: argparse.Namespace) -> float:
    """Seconds without a turn of its event loop after which a worker is killed."""
    if args.reload:
        return inf  # a debugger may hold it, and the next change of code restarts it
    # Its last beat, one lease until others have its jobs: from then on nothing is lost with it.
    return (PATIENCE_LEASES + 1) * args.lease + args.shutdown_timeout


async def _keep(supervisor: "Supervisor", args: argparse.Namespace) -> int:
    async with AsyncExitStack() as watched:
        await show_state(watched, supervisor, args)
        return await supervisor.run()
