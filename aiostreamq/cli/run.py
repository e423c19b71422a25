"""`aiostreamq run`: a worker as a process of its own."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio

from aiostreamq import __version__
from aiostreamq.cli.health import serve_health
from aiostreamq.cli.logs import set_up_logging
from aiostreamq.cli.systemd import notify_systemd
from aiostreamq.cli.target import load_queue
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.model.duration import Duration
from aiostreamq.queue import Queue
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import TaskStatus

logger = logging.getLogger("aiostreamq.cli")


def run(told: argparse.Namespace) -> int:
    """Run a worker as *told* on the command line; returns the exit code."""
    set_up_logging(told.log_level, told.log_format)
    use_uvloop = _wants_uvloop(told.loop)
    queue = load_queue(told.target)
    if told.url:
        queue.use_url(told.url)
    worker = Worker(
        queue,
        concurrency=told.concurrency,
        lanes=_lanes(told.lanes),
        name=told.name,
        processes=told.processes,
        lease=_seconds(told.lease),
        max_deliveries=told.max_deliveries,
        slow_after=_seconds(told.slow_after),
        shutdown_timeout=_seconds(told.shutdown_timeout),
    )
    try:
        code = anyio.run(_serve, queue, worker, told, backend_options={"use_uvloop": use_uvloop})
    except BaseExceptionGroup as group:
        # What the task group wraps: there is one cause, and it names the fault.
        ours = group.subgroup(AioStreamQError)
        if ours is None:
            raise
        raise ours.exceptions[0] from None
    _leave_threads(code)
    return code


def _leave_threads(code: int) -> None:
    """End the process where `def` tasks still run: Python would wait for them for ever."""
    stuck = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if stuck:
        logger.warning("leaving %d threads behind; their jobs will be run again", len(stuck))
        logging.shutdown()
        os._exit(code)


async def _serve(queue: Queue, worker: Worker, told: argparse.Namespace) -> int:
    """Work until the end; returns the exit code: 1 where the end was not orderly."""
    is_orderly = False
    try:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as watched:
            # First, so that a signal during the start drains like any other.
            await tasks.start(_heed_signals, worker, tasks.cancel_scope)
            # Both before anything is asked of Redis, and to the end of the drain.
            await watched.enter_async_context(notify_systemd(worker))
            if told.health_port is not None:
                await watched.enter_async_context(
                    serve_health(worker, told.health_host, told.health_port)
                )
            server = await queue.open()
            print(_banner(queue, worker, server.name), file=sys.stderr, flush=True)
            await worker.run(burst=told.burst)
            is_orderly = True
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await queue.aclose()
    return 0 if is_orderly else 1


async def _heed_signals(
    worker: Worker, everything: "CancelScope", *, task_status: "TaskStatus[None]"
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        is_draining = False
        async for _ in signals:
            if is_draining:
                logger.warning("leaving at once; what still runs will be run again")
                everything.cancel()
                return
            is_draining = True
            logger.info("draining: running jobs get to end; once more to leave at once")
            worker.stop()


def _banner(queue: Queue, worker: Worker, server: str) -> str:
    tasks = ", ".join(sorted(queue.tasks)) or "none"
    return (
        f"aiostreamq {__version__} on {server}\n"
        f"  queue        {queue.name}, lanes {', '.join(worker.lanes)}\n"
        f"  worker       {worker.name}, concurrency {worker.concurrency}\n"
        f"  tasks ({len(queue.tasks)})    {tasks}"
    )


def _lanes(told: str | None) -> list[str] | None:
    return None if told is None else [name.strip() for name in told.split(",")]


def _seconds(told: str) -> Duration:
    # Bare numbers are seconds; the rest ("5m") the worker reads itself.
    try:
        return float(told)
    except ValueError:
        return told


def _wants_uvloop(loop: str) -> bool:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if loop == "uvloop" and not is_installed:
        raise UsageError("--loop uvloop needs the extra: pip install 'aiostreamq[uvloop]'")
    return is_installed and loop != "asyncio"
