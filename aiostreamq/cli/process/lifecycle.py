"""A worker process, from its start to its exit."""

import argparse
import importlib.util
import os
import signal
import threading
import time
from contextlib import AsyncExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import anyio

from aiostreamq.cli.connect import queues_of
from aiostreamq.cli.logs import exit_at_once
from aiostreamq.cli.output import complain
from aiostreamq.cli.process.banner import banner_of
from aiostreamq.cli.process.guarded_loop import (
    END_STEP,
    HandlerGuard,
    end_strays,
    hide_all,
    new_loop,
)
from aiostreamq.cli.process.health import serve_health
from aiostreamq.cli.process.metrics import metrics_of, serve_supervised
from aiostreamq.cli.process.recycling import RecyclingLimits, own_limits
from aiostreamq.cli.process.signal_echo import SignalEchoFilter
from aiostreamq.cli.process.state_reporter import StateReporter
from aiostreamq.cli.process.supervisor_link import Order, SupervisorLink
from aiostreamq.cli.process.systemd import notify_systemd
from aiostreamq.client.core import core_of
from aiostreamq.errors import AioStreamQError, LifespanFailed, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.record import record
from aiostreamq.model.worker_state import HasState
from aiostreamq.queue import Queue
from aiostreamq.store.connection.server import MEMORY
from aiostreamq.worker.logs.setup import complete
from aiostreamq.worker.worker import Worker

if TYPE_CHECKING:
    from typing import TypeAlias

    from anyio import CancelScope
    from anyio.abc import TaskStatus

    from aiostreamq.cli.process.health import Metrics
    from aiostreamq.worker.group import WorkerGroup

    AnyWorker: TypeAlias = Worker | WorkerGroup


logger = get_logger("aiostreamq.cli")

NO_PROCESSES_IN_MEMORY = (
    "a memory:// queue lives in one process and ends with it: --workers, --max-jobs, --max-rss "
    "and --reload need a Redis"
)

ALONE_IN_MEMORY = (
    "a memory:// queue lives in this process alone, and other programs cannot enqueue here: "
    "give the URL of a Redis with --url or AIOSTREAMQ_URL"
)


@record
class Role:
    """The place of this process among others."""

    workers: int  #: how many worker processes there are
    limits: RecyclingLimits
    link: SupervisorLink | None  #: None without a supervisor
    metrics: "Metrics | None" = None  #: answers scrapes


def run_worker(
    args: argparse.Namespace, limits: RecyclingLimits, link: SupervisorLink | None
) -> int:
    """Run one worker in this process and return the exit code.

    Args:
        args: The options of `aiostreamq run`.
        limits: How much the process may do before it is replaced.
        link: The supervisor's socket; None without a supervisor.

    Raises:
        AioStreamQError: The options are wrong, or Redis cannot be used.
    """
    use_uvloop = _wants_uvloop(args.loop)
    args.loop = "uvloop" if use_uvloop else "asyncio"
    queues = queues_of(args)
    complete()
    worker = _make_worker(queues, args)
    role = Role(args.workers, limits, link, metrics_of(queues, worker, args))
    code = 1
    try:
        code = anyio.run(
            _serve_alone,
            queues,
            worker,
            role,
            args,
            backend_options={"loop_factory": partial(new_loop, use_uvloop=use_uvloop)},
        )
    except BaseExceptionGroup as group:
        # The task group wraps the one error that names the fault.
        ours = group.subgroup(AioStreamQError)
        if ours is None:
            raise
        error = ours.exceptions[0]
        if isinstance(error, LifespanFailed) and error.__cause__ is not None:
            logger.error("a lifespan failed", exc_info=error.__cause__)  # noqa: TRY400  # the cause only
        raise error from None
    finally:
        _exit_after(END_STEP, code)
    if link is not None and code == 0:
        link.send("finished")
    _leave_threads(code)
    return code


def _make_worker(queues: list[Queue], args: argparse.Namespace) -> "AnyWorker":
    make = partial(Worker, queues[0])
    if len(queues) > 1:
        from aiostreamq.worker.group import WorkerGroup  # most programs run one queue

        make = partial(WorkerGroup, queues)
    return make(
        concurrency=args.concurrency,
        lanes=_lanes(args.lanes),
        name=args.name,
        threads=args.threads,
        processes=args.processes,
        lease=args.lease,
        max_worker_deaths=args.max_worker_deaths,
        loop_block_warning=args.loop_block_warning,
        shutdown_timeout=args.shutdown_timeout,
        max_held_bytes=args.max_held_bytes,
        log_jobs=args.log_jobs,
    )


def _leave_threads(code: int) -> None:
    """End the process if `def` tasks still run: Python would wait for them for ever."""
    stuck = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if stuck:
        threads = counted(len(stuck), "thread")
        logger.warning("leaving %s behind; the jobs there will be run again", threads)
        exit_at_once(code)


def _exit_after(seconds: float, code: int) -> None:
    """End the process after *seconds*, if it has not ended by then.

    At its end Python waits for threads and child processes that tasks have left, and for the
    exit handlers of their modules.
    """

    def end() -> None:
        time.sleep(seconds)
        logger.warning("the process does not end by itself and is ended")
        os._exit(code)

    threading.Thread(target=end, name="aiostreamq:end", daemon=True).start()


async def _serve_alone(
    queues: list[Queue], worker: "AnyWorker", role: Role, args: argparse.Namespace
) -> int:
    """Work until the end, and cancel the tasks that are left in the event loop."""
    try:
        return await _serve(queues, worker, role, args)
    finally:
        if left := await end_strays():
            logger.warning("leaving %d coroutines behind that ignore being cancelled", left)


async def _serve(
    queues: list[Queue], worker: "AnyWorker", role: Role, args: argparse.Namespace
) -> int:
    """Work until the end, and return the exit code: 1 if the end was not orderly."""
    is_orderly = False
    try:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            # First, so that a signal during the start drains like any other.
            await tasks.start(_obey_signals, worker, role, tasks.cancel_scope)
            if role.link is None:
                await show_state(stack, worker, args, role.metrics)
            elif role.metrics is not None:
                tasks.start_soon(serve_supervised, worker, role.metrics, args)
            servers = [await queue.open() for queue in queues]
            workers = [worker] if isinstance(worker, Worker) else worker.workers
            banner = "\n".join(
                banner_of(queue, one, server.name, args)
                for queue, one, server in zip(queues, workers, servers, strict=True)
            )
            hide_all()
            if role.link is None:
                complain(banner)
                if MEMORY in servers:
                    logger.warning(ALONE_IN_MEMORY)
                await worker.run(burst=args.burst)
            else:
                if MEMORY in servers:
                    raise UsageError(NO_PROCESSES_IN_MEMORY)
                reporter = StateReporter(worker, own_limits(role.limits), role.link, banner)
                await tasks.start(reporter.run)
                hide_all()
                await worker.run(burst=args.burst)
                if args.burst:
                    reporter.report_ready()  # it may be through before the reporter has looked
            is_orderly = True
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            for queue in queues:
                await core_of(queue).sessions.close_for_all()
    return 0 if is_orderly else 1


async def _obey_signals(
    worker: "AnyWorker", role: Role, everything: "CancelScope", *, task_status: "TaskStatus[None]"
) -> None:
    shutdown = Shutdown(worker, everything)
    receiver = anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
    with receiver as signals, closing(HandlerGuard()):
        if role.link is not None:
            role.link.bind(shutdown.obey)
        task_status.started()
        echoes = SignalEchoFilter()
        async for number in signals:
            if not echoes.is_news(number):
                continue
            # The same signal may have gone to a supervisor, which then sends "abort".
            if role.link is None and shutdown.has_begun:
                shutdown.obey("abort")
                return
            shutdown.obey("stop", "" if role.link else "; signal again to leave at once")


class Shutdown:
    """The end of a worker, by orders. The same order twice changes nothing."""

    def __init__(self, worker: "AnyWorker", everything: "CancelScope") -> None:
        self.has_begun = False
        self._worker = worker
        self._everything = everything

    def obey(self, order: Order, hint: str = "") -> None:
        """Carry out *order*; *hint* is added to the log line."""
        if order == "abort":
            self._worker.abort()
            self._everything.cancel()
            return
        if not self.has_begun:
            log_fields = {"worker": self._worker.name}
            logger.info("draining: running jobs may finish%s", hint, extra=log_fields)
        self.has_begun = True
        if order == "drain":
            self._worker.drain()
        else:
            self._worker.stop()


async def show_state(
    stack: AsyncExitStack,
    of: HasState,
    args: argparse.Namespace,
    metrics: "Metrics | None" = None,
) -> None:
    """Notify systemd and answer probes until *stack* is closed.

    To be called before anything is asked of Redis, so that its absence is shown.
    """
    await stack.enter_async_context(notify_systemd(of))
    if args.health_port is not None:
        server = serve_health(of, args.health_host, args.health_port, metrics)
        await stack.enter_async_context(server)


def _lanes(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def _wants_uvloop(loop: str) -> bool:
    is_installed = importlib.util.find_spec("uvloop") is not None
    if loop == "uvloop" and not is_installed:
        raise UsageError("--loop uvloop needs the extra: pip install 'aiostreamq[uvloop]'")
    return is_installed and loop != "asyncio"
