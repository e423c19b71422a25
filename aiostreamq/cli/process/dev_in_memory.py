"""`aiostreamq dev` without a server: the worker and the dashboard in one process."""

import argparse
import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiostreamq.cli.commands.dashboard import DEFAULT_HOST
from aiostreamq.cli.connect import queues_of
from aiostreamq.cli.logs import set_up_logging
from aiostreamq.cli.output import complain
from aiostreamq.worker.group import WorkerGroup
from aiostreamq.worker.logs.setup import complete

if TYPE_CHECKING:
    from aiostreamq.queue import Queue


def run_in_memory(args: argparse.Namespace, port: int | None) -> int:
    """Run the worker, and the dashboard at *port* unless it is None; return the exit code.

    Raises:
        UsageError: There is no such queue, or the extra `memory` is missing.
    """
    set_up_logging(args.log_level or "info", "text")
    args.url = "memory://"
    queues = queues_of(args)
    complete()
    return asyncio.run(_serve(queues, args, port))


async def _serve(queues: "list[Queue]", args: argparse.Namespace, port: int | None) -> int:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(queue)
        await stack.enter_async_context(
            WorkerGroup(
                queues,
                concurrency=args.concurrency or 100,
                shutdown_timeout=args.shutdown_timeout,
            )
        )
        complain(f"aiostreamq: worker of {', '.join(queue.name for queue in queues)} on memory://")
        if port is None:
            await over.wait()
        else:
            # Imported here: the extra may be missing.
            from aiostreamq.cli.process.dashboard_server import serve_beside

            await serve_beside(queues, host=DEFAULT_HOST, port=port)
    return 0
