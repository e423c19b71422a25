"""`aiostreamq run`: a worker as a process of its own, or several under a supervisor."""

import argparse
import asyncio
import importlib.util
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from aiostreamq.cli.connect import queue_of
from aiostreamq.cli.logs import set_up_for
from aiostreamq.cli.output import complain
from aiostreamq.cli.process.banner import banner_of
from aiostreamq.cli.process.event_loop import LAST_WORDS, Handlers, end_strays, hide_all, new_loop
from aiostreamq.cli.process.health import serve_health
from aiostreamq.cli.process.recycling import RecyclingLimits, own_limits, resident_bytes
from aiostreamq.cli.process.reload import check_reload
from aiostreamq.cli.process.signals import Signals
from aiostreamq.cli.process.supervisor_link import GRACE, Order, SupervisorLink
from aiostreamq.cli.process.systemd import notify_systemd
from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.grammar import counted
from aiostreamq.model.worker_state import HasState, WorkerState
from aiostreamq.queue import Queue
from aiostreamq.signals import keep_from_children
from aiostreamq.store.connection.server import MEMORY
from aiostreamq.worker.leases.heartbeat import PATIENCE_LEASES
from aiostreamq.worker.logs.setup import complete
from aiostreamq.worker.run.interpreter import interpreter
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import TaskStatus

    from aiostreamq.cli.process.supervisor import Supervisor

logger = get_logger("aiostreamq.cli")

# Seconds between two looks at how much a worker has done, which cost it some
# microseconds each.
LOOK_AGAIN = 0.1

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


def run(told: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run workers as *told* on the command line, whose *arguments* these are.

    Returns the exit code.
    """
    keep_from_children()
    limits = RecyclingLimits(told.max_jobs, told.max_rss)
    is_supervised = told.lifeline is not None
    needs_supervisor = told.workers != 1 or limits != RecyclingLimits(None, None) or told.reload
    set_up_for(told, imports_app=is_supervised or not needs_supervisor)
    if is_supervised:
        return _work(told, limits, SupervisorLink(told.lifeline, told.shutdown_timeout + GRACE))
    return _supervise(told, arguments) if needs_supervisor else _work(told, limits, None)


def _supervise(told: argparse.Namespace, arguments: Sequence[str]) -> int:
    # Only the supervisor needs it.
    from aiostreamq.cli.process.supervisor import Supervisor

    if told.reload:
        check_reload()
        if told.burst:
            raise UsageError("--reload never ends, --burst does: give one of them")

    def command(lifeline: int) -> list[str]:
        told_first = ["run", "--lifeline", str(lifeline)]
        return [*interpreter(), "-m", "aiostreamq", *told_first, *arguments[1:]]

    supervisor = Supervisor(
        command,
        told.workers,
        patience=told.shutdown_timeout + GRACE,
        blocked_after=told.lease,
        stuck_after=_stuck_after(told),
        is_burst=told.burst,
        watched=Path.cwd() if told.reload else None,
    )
    return asyncio.run(_keep(supervisor, told))


def _stuck_after(told: argparse.Namespace) -> float:
    """Seconds without a turn of its event loop after which a worker is killed."""
    if told.reload:
        return inf  # a debugger may hold it, and the next change of code restarts it
    # Its last beat, one lease until others have its jobs: from then on nothing is lost with it.
    return (PATIENCE_LEASES + 1) * told.lease + told.shutdown_timeout


async def _keep(supervisor: "Supervisor", told: argparse.Namespace) -> int:
    async with AsyncExitStack() as watched:
        await _show_state(watched, supervisor, told)
        return await supervisor.run()


def _work(
    told: argparse.Namespace, limits: RecyclingLimits, lifeline: SupervisorLink | None
) -> int:
    """Be a worker, alone or on the *lifeline* of a supervisor."""
    use_uvloop = _wants_uvloop(told.loop)
    queue = queue_of(told)
    complete()
    if not queue.tasks:
        raise UsageError(
            f"queue {queue.name!r} in {told.target} has no tasks: they are registered when their "
            f"modules are imported. Name those, as in --import app.tasks, or import them in "
            f"{told.target.partition(':')[0]}"
        )
    worker = Worker(
        queue,
        concurrency=told.concurrency,
        lanes=_lanes(told.lanes),
        name=told.name,
        threads=told.threads,
        processes=told.processes,
        lease=told.lease,
        max_worker_deaths=told.max_worker_deaths,
        loop_block_warning=told.loop_block_warning,
        shutdown_timeout=told.shutdown_timeout,
        log_jobs=told.log_jobs,
    )
    told.loop = "uvloop" if use_uvloop else "asyncio"
    role = Role(told.workers, limits, lifeline)
    loop_factory = partial(new_loop, use_uvloop=use_uvloop)
    code = 1
    try:
        code = anyio.run(
            _serve_alone, queue, worker, role, told, backend_options={"loop_factory": loop_factory}
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


async def _serve_alone(queue: Queue, worker: Worker, role: Role, told: argparse.Namespace) -> int:
    """Work until the end, and end what tasks have left in the event loop."""
    try:
        return await _serve(queue, worker, role, told)
    finally:
        if left := await end_strays():
            logger.warning("leaving %d coroutines behind that do not heed being cancelled", left)


async def _serve(queue: Queue, worker: Worker, role: Role, told: argparse.Namespace) -> int:
    """Work until the end; returns the exit code: 1 where the end was not orderly."""
    is_orderly = False
    try:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as watched:
            # First, so that a signal during the start drains like any other.
            await tasks.start(_heed_signals, worker, role, tasks.cancel_scope)
            if role.lifeline is None:
                await _show_state(watched, worker, told)
            server = await queue.open()
            banner = banner_of(queue, worker, server.name, told)
            hide_all()
            if role.lifeline is None:
                complain(banner)
                if server is MEMORY:
                    logger.warning(ALONE_IN_MEMORY)
                await worker.run(burst=told.burst)
            else:
                if server is MEMORY:
                    raise UsageError(NO_PROCESSES_IN_MEMORY)
                reporter = StateReporter(worker, own_limits(role.limits), role.lifeline, banner)
                await tasks.start(reporter.run)
                hide_all()
                await worker.run(burst=told.burst)
                if told.burst:
                    reporter.tell_ready()  # it may be through before anybody has looked
            is_orderly = True
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await queue.sessions.close_for_all()
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
        """Do as told; the same order twice changes nothing. *hint* is for the log."""
        if order == "leave":
            self._worker.abort()
            self._everything.cancel()
            return
        if not self.has_begun:
            told = {"worker": self._worker.name}
            logger.info("draining: running jobs get to end%s", hint, extra=told)
        self.has_begun = True
        if order == "retire":
            self._worker.drain()
        else:
            self._worker.stop()


async def _show_state(watched: AsyncExitStack, of: HasState, told: argparse.Namespace) -> None:
    """Tell systemd and probes how it goes: before anything is asked of Redis, to the very end."""
    await watched.enter_async_context(notify_systemd(of))
    if told.health_port is not None:
        await watched.enter_async_context(serve_health(of, told.health_host, told.health_port))


class StateReporter:
    """Tells the supervisor how a worker does."""

    def __init__(
        self, worker: Worker, limits: RecyclingLimits, lifeline: SupervisorLink, banner: str
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._lifeline = lifeline
        self._banner = banner
        self._told = WorkerState.STARTING
        self._has_told_ready = False
        self._has_asked = False

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """Look again and again; ends by being cancelled."""
        task_status.started()
        while True:
            self.look()
            await anyio.sleep(LOOK_AGAIN)

    def tell_ready(self) -> None:
        """Tell that the worker has begun to take jobs, unless that has been told."""
        if not self._has_told_ready:
            self._has_told_ready = True
            self._lifeline.tell("ready", self._banner)
            self._told = WorkerState.READY

    def look(self) -> None:
        """Tell what has changed since the last look."""
        state = self._worker.state
        if state is WorkerState.READY:
            self.tell_ready()
        # It is ready again in a moment, under another name, or has never been.
        if state not in {self._told, WorkerState.STARTING}:
            self._told = state
            self._lifeline.tell("state", state)
        why = self._limits.reason_to_end(self._worker.finished, resident_bytes())
        if state is WorkerState.STUCK:
            why = "all its threads are stuck in jobs that were given up"
        if why is not None and not self._has_asked:
            self._has_asked = True  # the work goes on until the replacement is ready
            self._lifeline.tell("replace", why)


def _lanes(told: str | None) -> list[str] | None:
    return None if told is None else [name.strip() for name in told.split(",")]


def _wants_uvloop(loop: str) -> bool:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if loop == "uvloop" and not is_installed:
        raise UsageError("--loop uvloop needs the extra: pip install 'aiostreamq[uvloop]'")
    return is_installed and loop != "asyncio"
