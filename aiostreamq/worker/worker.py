"""The worker as users hold it."""

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from aiostreamq.aio.listeners import Listeners
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.client.core import core_of
from aiostreamq.errors import BrokerError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import checked_name
from aiostreamq.model.lanes import served
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.store.inspect.server_check import advice_on, examine
from aiostreamq.worker.incarnations import Incarnations
from aiostreamq.worker.settings import (
    LEASE,
    LOOP_BLOCK_WARNING,
    MAX_HELD_BYTES,
    MAX_WORKER_DEATHS,
    PROCESSES,
    SHUTDOWN_TIMEOUT,
    THREADS,
    WorkerSettings,
    check_count,
    check_queue,
    lease_seconds,
)

if TYPE_CHECKING:
    from types import TracebackType

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.client.resources.worker_scope import WorkerScope
    from aiostreamq.client.sessions.lifetime import SessionLifetime
    from aiostreamq.model.listener_events import Listener
    from aiostreamq.store.connection.server import Server
    from aiostreamq.worker.settings import SlotSharing

logger = get_logger("aiostreamq.worker")

# Seconds that listeners get to take the last events of a worker that ends.
LAST_EVENTS = 1.0


class Worker:
    """Runs the jobs of a queue.

    Embedded in a program that has a loop and signal handling of its own:

        async with Worker(queue, concurrency=100):
            ...

    or as the whole of a program: `await Worker(queue).run()`.

    Cancelling either lets it drain as `stop` does first. A cancel scope of anyio counts as one
    cancellation, however long the drain takes; one more by `Task.cancel()` has it `leave`.
    """

    def __init__(
        self,
        queue: "QueueClient",
        *,
        concurrency: int = 100,
        lanes: Iterable[str] | None = None,
        name: str | None = None,
        threads: int = THREADS,
        processes: int = PROCESSES,
        lease: Duration = LEASE,
        max_worker_deaths: int = MAX_WORKER_DEATHS,
        loop_block_warning: Duration = LOOP_BLOCK_WARNING,
        shutdown_timeout: Duration = SHUTDOWN_TIMEOUT,
        max_held_bytes: int = MAX_HELD_BYTES,
        log_jobs: bool = False,
        listeners: Iterable["Listener"] = (),
    ) -> None:
        """Describe a worker; nothing connects yet.

        Args:
            queue: The queue whose jobs are run.
            concurrency: How many jobs run at once.
            lanes: The lanes to serve, of those that the queue has; all by default.
                Work that was returned is run whatever its lane, unless its task is
                for a lane that is not served: that is passed on.
            name: For people; every start adds something unique to it. The host
                and process id by default.
            threads: How many `def` tasks run at once in threads.
            processes: How many tasks of `executor="process"` run at once, each in a
                process; those are started when they are first needed.
            lease: Seconds without a sign of life, 1 or more, after which the
                other workers take this one for dead and run its jobs. Not a
                limit for jobs: those may run for days.
            max_worker_deaths: A job is given up after this many workers died while running it.
            loop_block_warning: Seconds that a job may block the event loop before that is
                logged, with its stack.
            shutdown_timeout: Seconds that running jobs get to end in when the
                worker stops. Jobs that still run then are cancelled and handed back.
            max_held_bytes: About how many bytes of arguments and results the jobs that run may
                have. If payloads are large, fewer than *concurrency* run at once; one always may.
                The process takes several times as much memory.
            log_jobs: Log a line when a job starts and one when it is done. Jobs that fail or
                run again are logged anyway.
            listeners: Functions that get the events of this worker, as `aiostreamq.telemetry`
                lists them. They are called in a thread of their own.

        Raises:
            UsageError: A number or the name is invalid, or a listener is a coroutine function.
        """
        check_queue(queue)
        check_count("concurrency", concurrency)
        check_count("threads", threads)
        check_count("processes", processes)
        check_count("max_worker_deaths", max_worker_deaths)
        check_count("max_held_bytes", max_held_bytes)
        self.queue = queue
        self.concurrency = concurrency
        weights = served(core_of(queue).lanes.weights, lanes)
        self.lanes = tuple(weights)  #: those that are served
        called = checked_name("worker", name or f"{socket.gethostname()}-{os.getpid()}")
        settings = WorkerSettings(
            concurrency=concurrency,
            lanes=weights,
            threads=threads,
            processes=processes,
            lease=lease_seconds(lease),
            max_worker_deaths=max_worker_deaths,
            loop_block_warning=seconds("loop_block_warning", loop_block_warning),
            shutdown_timeout=seconds("shutdown_timeout", shutdown_timeout),
            max_held_bytes=max_held_bytes,
            log_jobs=log_jobs,
        )
        self._listeners = Listeners(core_of(queue).listeners, listeners)
        self._incarnations = Incarnations(queue, called, settings, self._listeners)
        self._is_aborting = False
        self._has_failed = False  # to start
        self._has_begun = False  # to start
        self._stopped = asyncio.Event()  # set when it is to drain
        self._hurry = asyncio.Event()  # set when the time to drain is counted
        self._working: OwnTask[None] | None = None  # once it has started
        self._is_working = False  # whether that has taken its first step

    async def __aenter__(self) -> Self:
        await self._start(burst=False)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.stop()
        if self._working is None:
            return
        if isinstance(exc, asyncio.CancelledError):
            await self._wait_drained(self._working)
        else:
            await self._wait_end(self._working)

    @property
    def name(self) -> str:
        """The name, unique to this start. Another one if the worker was taken for dead."""
        return self._incarnations.name

    @property
    def finished(self) -> int:
        """How many runs of jobs have ended here, each attempt counted."""
        return self._incarnations.finished

    @property
    def running(self) -> int:
        """How many jobs run here now. May be read from any thread."""
        return self._incarnations.running

    async def run(self, *, burst: bool = False) -> None:
        """Run jobs until `stop` is called; with *burst*, until none is left.

        A burst waits for the jobs of a worker that may be dead, for its lease and a second at most.

        Raises:
            LifespanFailed: A lifespan failed at the start, or ended while the worker was running.
            QueueUnavailable: Redis cannot be reached at the start.
            BrokerError: Redis refuses for good.

        Cancelling drains as `stop` does, then ends; cancelled once more it does as `leave`.
        A cancel scope of anyio counts as one cancellation, however long the drain takes.
        """
        await self._wait_end(await self._start(burst=burst))

    async def _wait_end(self, working: asyncio.Task[None]) -> None:
        """Wait until all has ended, which is about to happen from a cancellation on."""
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            self.stop()
            await self._wait_drained(working)
            raise
        finally:
            self._abort_unless_over(working)

    async def _wait_drained(self, working: asyncio.Task[None]) -> None:
        """Wait on after a cancellation, until all has ended or to the next one."""
        import anyio  # late: only a worker that is cancelled needs it

        try:
            # anyio cancels again and again until it is obeyed, and means it once.
            with anyio.CancelScope(shield=True):
                await asyncio.shield(working)
        finally:
            self._abort_unless_over(working)

    def _abort_unless_over(self, working: asyncio.Task[None]) -> None:
        # Whichever way the wait ends: a worker without a waiter must not keep its lease.
        if not working.done():
            self.abort()

    @property
    def state(self) -> WorkerState:
        """The state of this worker. Asks nothing of Redis; may be read from any thread."""
        if self._has_failed or (self._working is not None and self._working.done()):
            return WorkerState.STOPPED
        return WorkerState.DRAINING if self._stopped.is_set() else self._incarnations.state

    @property
    def is_ready(self) -> bool:
        """Whether this worker takes jobs, and Redis has answered it within the last lease."""
        return self.state is WorkerState.READY

    def stop(self) -> None:
        """Begin to drain: no new job, the running ones to their end within `shutdown_timeout`."""
        self._hurry.set()
        self.drain()

    def drain(self) -> None:
        """Begin to drain without a limit: running jobs get all the time they need, until `stop`."""
        self._stopped.set()
        self._incarnations.stop_reading()  # at once: jobs that it would still read were handed back

    def abort(self) -> None:
        """End at once: what runs is cancelled, and run again by others when the lease is over."""
        if self._is_aborting or self.state is WorkerState.STOPPED:
            return
        fields = {"worker": self.name}
        logger.warning("leaving at once; running jobs will be run again", extra=fields)
        self.stop()
        self._is_aborting = True
        self._incarnations.abort()
        if self._working is not None and self._is_working:
            self._working.end()  # before its first step, that would end it without its cleanup

    async def _start(self, *, burst: bool) -> OwnTask[None]:
        if self._has_begun:
            raise UsageError(f"worker {self.name} has been started before: make another Worker")
        self._has_begun = True
        try:
            tenure, server = await core_of(self.queue).sessions.hold()
            try:
                await self._check(server)
                scope = await self._begin(burst=burst)
            except BaseException:
                await core_of(self.queue).sessions.release(tenure)
                raise
        except BaseException:
            self._has_failed = True
            raise
        self._working = spawn(self._work(tenure, scope, burst=burst), "aiostreamq:worker")
        # However it ends, also with the loop, the services do not outlive it.
        self._working.add_done_callback(lambda _: self._incarnations.abort())
        return self._working

    async def _begin(self, *, burst: bool) -> "WorkerScope | None":
        """Enter the lifespans and begin; return None if the worker was stopped before that."""
        resources = core_of(self.queue).resources
        scope = await resources.join(self._stopped, self.stop)
        if scope is not None:
            try:
                await self._incarnations.begin(burst=burst)
            except BaseException:
                await resources.leave(self.stop)
                raise
        return scope

    async def _check(self, server: "Server") -> None:
        """Warn of what about *server* would cost jobs one day."""
        store = core_of(self.queue).session().store
        if store.connector.is_in_memory:
            return  # everybody knows what becomes of memory
        try:
            condition = await examine(store, server)
        except BrokerError as error:
            logger.debug("Redis's settings could not be looked at: %s", error)
            return
        for line in advice_on(condition):
            logger.warning("%s", line)

    async def _work(
        self, tenure: "SessionLifetime", scope: "WorkerScope | None", *, burst: bool
    ) -> None:
        self._is_working = True
        core = core_of(self.queue)
        try:
            if scope is None or self._is_aborting:
                return
            await self._incarnations.live(self._stopped, self._hurry, burst=burst)
            if scope.failure is not None:
                raise scope.failure
        except asyncio.CancelledError:
            if not self._is_aborting:  # then it is an end like others
                raise
        finally:
            self._incarnations.abort()  # before its connections may go
            try:
                if scope is not None:
                    await core.resources.leave(self.stop, at_once=self._is_aborting)
            finally:
                await core.sessions.release(tenure)
            if self._listeners.is_heard and not self._is_aborting:
                await self._listeners.flush(LAST_EVENTS)
            self._listeners.leave()


def share_slots(worker: Worker, pool: "SlotSharing") -> None:
    """Have *worker* share the slots of *pool* with workers of other queues, before it starts."""
    worker._incarnations.share_slots(pool)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # for a group only
