"""A worker process, from its start to its exit."""

import argparse
import importlib.util
import logging
import os
import signal
import threading
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from aiostreamq.cli.connect import queue_of
from aiostreamq.cli.output import complain
from aiostreamq.cli.process.banner import banner_of
from aiostreamq.cli.process.event_loop import LAST_WORDS, Handlers, end_strays, hide_all, new_loop
from aiostreamq.cli.process.health import serve_health
from aiostreamq.cli.process.recycling import RecyclingLimits, own_limits
from aiostreamq.cli.process.signal_echo import Signals
from aiostreamq.cli.process.state_reporter import StateReporter
from aiostreamq.cli.process.supervisor_link import Order, SupervisorLink
from aiostreamq.cli.process.systemd import notify_systemd
from aiostreamq.client.core import core_of
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.grammar import counted
from aiostreamq.model.worker_state import HasState
from aiostreamq.queue import Queue
from aiostreamq.store.connection.server import MEMORY
from aiostreamq.worker.logs.setup import complete
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import TaskStatus


logger = get_logger("aiostreamq.cli")

NO_PROCESSES_IN_MEMORY = (
    "a memory:// queue lives in one process and ends with it: --workers, --max-jobs, --max-rss "
    "and --reload need a Redis"
)


ALONE_IN_MEMORY = (
    "a memory:// queue lives in this process alone: what other programs enqueue does not come "
    "here. Say where Redis is, with --url or AIOSTREAMQ_URL"
)


@dataclass(frozen=True, slots=True)
class Role:
    """What this process is."""

    workers: int  #: how many such there are
    limits: RecyclingLimits
    lifeline: SupervisorLink | None  #: None without a supervisor


def work(args: argparse.Namespace, limits: RecyclingLimits, lifeline: SupervisorLink | None) -> int:
    """Be a worker, alone or on the *lifeline* of a supervisor."""
    use_uvloop = _wants_uvloop(args.loop)
    queue = queue_of(args)
    complete()
    if not queue.tasks:
        raise UsageError(
            f"queue {queue.name!r} in {args.target} has no tasks: they are registered when their "
            f"modules are imported. Name those, as in --import app.tasks, or import them in "
            f"{args.target.partition(':')[0]}"
        )
    worker = Worker(
        queue,
        concurrency=args.concurrency,
        lanes=_lanes(args.lanes),
        name=args.name,
        threads=args.threads,
        processes=args.processes,
        lease=args.lease,
        max_worker_deaths=args.max_worker_deaths,
        loop_block_warning=args.loop_block_warning,
        shutdown_timeout=args.shutdown_timeout,
        log_jobs=args.log_jobs,
    )
    args.loop = "uvloop" if use_uvloop else "asyncio"
    role = Role(args.workers, limits, lifeline)
    loop_factory = partial(new_loop, use_uvloop=use_uvloop)
    code = 1
    try:
        code = anyio.run(
            _serve_alone, queue, worker, role, args, backend_options={"loop_factory": loop_factory}
        )
    except BaseExceptionGroup as group:
        # What the task group wraps: there is one cause, and it names the fault.
        ours = group.subgroup(AioStreamQError)
        if ours is None:
            raise
        raise ours.exceptions[0] from None
    finally:
        _end_within(LAST_WORDS, code)
    if lifeline is not None and code == 0:
        lifeline.tell("over")
    _leave_threads(code)
    return code


def _leave_threads(code: int) -> None:
    """End the process where `def` tasks still run: Python would wait for them for ever."""
    stuck = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if stuck:
        threads = counted(len(stuck), "thread")
        logger.warning("leaving %s behind; what runs there will be run again", threads)
        logging.shutdown()
        os._exit(code)


def _end_within(seconds: float, code: int) -> None:
    """End the process if it has not ended by itself after so many *seconds*.

    Python waits at its end for threads and child processes that tasks have left, and for what
    their modules do at exit.
    """

    def end() -> None:
        time.sleep(seconds)
        logger.warning("the process does not end by itself and is ended")
        os._exit(code)

    threading.Thread(target=end, name="aiostreamq:end", daemon=True).start()


async def _serve_alone(queue: Queue, worker: Worker, role: Role, args: argparse.Namespace) -> int:
    """Work until the end, and end what tasks have left in the event loop."""
    try:
        return await _serve(queue, worker, role, args)
    finally:
        if left := await end_strays():
            logger.warning("leaving %d coroutines behind that do not heed being cancelled", left)


async def _serve(queue: Queue, worker: Worker, role: Role, args: argparse.Namespace) -> int:
    """Work until the end; returns the exit code: 1 where the end was not orderly."""
    is_orderly = False
    try:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as watched:
            # First, so that a signal during the start drains like any other.
            await tasks.start(_heed_signals, worker, role, tasks.cancel_scope)
            if role.lifeline is None:
                await show_state(watched, worker, args)
            server = await queue.open()
            banner = banner_of(queue, worker, server.name, args)
            hide_all()
            if role.lifeline is None:
                complain(banner)
                if server is MEMORY:
                    logger.warning(ALONE_IN_MEMORY)
                await worker.run(burst=args.burst)
            else:
                if server is MEMORY:
                    raise UsageError(NO_PROCESSES_IN_MEMORY)
                reporter = StateReporter(worker, own_limits(role.limits), role.lifeline, banner)
                await tasks.start(reporter.run)
                hide_all()
                await worker.run(burst=args.burst)
                if args.burst:
                    reporter.tell_ready()  # it may be through before anybody has looked
            is_orderly = True
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await core_of(queue).sessions.close_for_all()
    return 0 if is_orderly else 1


async def _heed_signals(
    worker: Worker, role: Role, everything: "CancelScope", *, task_status: "TaskStatus[None]"
) -> None:
    end = End(worker, everything)
    receiver = anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
    with receiver as signals, closing(Handlers()):
        if role.lifeline is not None:
            role.lifeline.bind(end.obey)
        task_status.started()
        heard = Signals()
        async for sign in signals:
            if not heard.is_news(sign):
                continue
            # The same signal may have gone to a supervisor, which then says when to leave.
            if role.lifeline is None and end.has_begun:
                end.obey("leave")
                return
            end.obey("drain", "" if role.lifeline else "; once more to leave at once")


class End:
    """How a worker comes to its end."""

    def __init__(self, worker: Worker, everything: "CancelScope") -> None:
        self.has_begun = False
        self._worker = worker
        self._everything = everything

    def obey(self, order: Order, hint: str = "") -> None:
        """Do as args; the same order twice changes nothing. *hint* is for the log."""
        if order == "leave":
            self._worker.abort()
            self._everything.cancel()
            return
        if not self.has_begun:
            args = {"worker": self._worker.name}
            logger.info("draining: running jobs get to end%s", hint, extra=args)
        self.has_begun = True
        if order == "retire":
            self._worker.drain()
        else:
            self._worker.stop()


async def show_state(watched: AsyncExitStack, of: HasState, args: argparse.Namespace) -> None:
    """Tell systemd and probes how it goes: before anything is asked of Redis, to the very end."""
    await watched.enter_async_context(notify_systemd(of))
    if args.health_port is not None:
        await watched.enter_async_context(serve_health(of, args.health_host, args.health_port))


def _lanes(args: str | None) -> list[str] | None:
    return None if args is None else [name.strip() for name in args.split(",")]


def _wants_uvloop(loop: str) -> bool:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if loop == "uvloop" and not is_installed:
        raise UsageError("--loop uvloop needs the extra: pip install 'aiostreamq[uvloop]'")
    return is_installed and loop != "asyncio"
