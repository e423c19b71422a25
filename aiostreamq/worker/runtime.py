"""One incarnation of a worker: its life under one name, from joining to leaving."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.aio.supervision import keep_running
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.worker.assembly import Services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from aiostreamq.aio.listeners import Listeners
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.model.listener_events import TelemetryEvent
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.settings import WorkerSettings

logger = get_logger("aiostreamq.worker")

# Seconds that each of the last requests to Redis may take when a worker ends.
LAST_REQUESTS = 5.0


class WorkerRuntime:
    """Starts the services of a worker, drains them, or aborts them.

    A worker that was taken for dead begins again with another runtime: see `Incarnations`.
    """

    def __init__(
        self,
        queue: "QueueClient",
        stores: "Sequence[QueueStore]",
        name: str,
        settings: "WorkerSettings",
        listeners: "Listeners[TelemetryEvent]",
    ) -> None:
        self.name = name
        self._settings = settings
        self._is_draining = False
        self._lost = asyncio.Event()  # other workers have taken this one for dead, and its jobs
        self._reading: OwnTask[None]  # ends by itself on an error, or after a burst
        self._loops: list[OwnTask[None]] = []
        self._services = Services(
            queue,
            stores,
            name,
            settings,
            listeners=listeners,
            lost=self._lost.set,
            state=lambda: self.state,
            is_ending=lambda: self._reading.cancelling() > 0,
        )
        #: the runs; their number may be read from any thread
        self.running: Mapping[EntryRef, object] = self._services.dispatcher.running

    async def start(self, *, burst: bool) -> None:
        """Join the other workers and begin to read.

        If that fails or is cancelled, nothing remains.
        """
        services, settings = self._services, self._settings
        await services.registry.join(self.name, settings.lease_ms, settings.lanes)
        try:
            await services.pauses.load()
            await services.limits.declare()
            services.heartbeat.start()
            await services.ticker.start()
        except BaseException:
            import anyio  # late: starts seldom fail

            services.heartbeat.close()
            with anyio.CancelScope(shield=True):
                await self._leave()
            raise
        self._loops = [self._spawn_loop(name, run) for name, run in services.loops().items()]
        self._reading = spawn(services.reader.run(burst=burst), "aiostreamq:reader")
        self._reading.add_done_callback(_log_failure)

    def _spawn_loop(self, name: str, run: "Callable[[], Awaitable[None]]") -> OwnTask[None]:
        return spawn(keep_running(name, run, self._services.wake), f"aiostreamq:{name}")

    @property
    def is_lost(self) -> bool:
        """Whether other workers have taken this one for dead, and its jobs."""
        return self._lost.is_set()

    @property
    def state(self) -> WorkerState:
        """The state of the worker. May be read from any thread."""
        if self.is_lost:
            return WorkerState.STARTING  # under another name, once this one has ended
        if self._is_draining:
            return WorkerState.DRAINING
        if clock.monotonic() - self._services.heartbeat.heard > self._settings.lease:
            return WorkerState.CUT_OFF
        is_stuck = self._services.pools["thread"].is_stuck
        return WorkerState.STUCK if is_stuck else WorkerState.READY

    @property
    def finished(self) -> int:
        """How many runs have ended."""
        return self._services.dispatcher.finished

    def stop_reading(self) -> None:
        """Begin no further read: a drain follows."""
        self._services.reader.stop()

    async def wait_over(self) -> None:
        """Wait until this incarnation is over: taken for dead, done with its burst, or failed."""
        lost = spawn(self._lost.wait())
        try:
            await asyncio.wait({self._reading, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Stop reading, let running jobs end, hand back the rest, and leave.

        Args:
            hurry: Once it is set, running jobs have the shutdown timeout left.

        Raises:
            BrokerError: The error that had ended the reader.
        """
        self._is_draining = True
        dispatcher = self._services.dispatcher
        time_up = spawn(self._wait_time_up(hurry))
        try:
            await self._services.reader.aclose(self._reading)
            lost = await self._never_arrived()
            await self._hand_back(lost + dispatcher.close())
            await self._join_dispatcher(time_up)
        finally:
            time_up.cancel()
        await self._hand_back(await dispatcher.cancel_all())
        await self._close_runners()
        await self._within_reason(self._services.rerouter.join(), "move jobs away")
        await self._close_loops()
        await self._leave()
        if not self._reading.cancelled() and (error := self._reading.exception()) is not None:
            raise error

    async def _join_dispatcher(self, time_up: asyncio.Task[None]) -> None:
        idle = spawn(self._services.dispatcher.join())
        try:
            await asyncio.wait({idle, time_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()

    async def _wait_time_up(self, hurry: asyncio.Event) -> None:
        await hurry.wait()
        await asyncio.sleep(self._settings.shutdown_timeout)

    async def aclose(self) -> None:
        """Cancel all jobs, which belong to other workers by now, and wait for the end."""
        await self._services.reader.aclose(self._reading)
        self._services.dispatcher.close()
        cut_short = await self._services.dispatcher.cancel_all()
        await self._close_runners()
        await self._close_loops()
        # Deliveries of a read on its way that came after the other workers had looked.
        await self._hand_back(await self._never_arrived())
        # Reading under the old name has made it known to Redis again.
        await self._leave()
        logger.error(
            "worker %s was taken for dead: %d running jobs were cancelled and run elsewhere",
            self.name,
            len(cut_short),
        )

    def abort(self) -> None:
        """End at once, without waiting: all its jobs run again when the lease is over.

        Does nothing if this incarnation has ended.
        """
        services = self._services
        services.heartbeat.close()
        services.reader.abort(self._reading)
        services.dispatcher.abort()
        services.threads.close()
        if services.processes is not None:
            services.processes.abort()
        self._cancel_loops()

    async def _close_runners(self) -> None:
        services = self._services
        services.threads.close()
        if services.processes is not None:
            await services.processes.aclose()
        await self._within_reason(services.settler.join(), "settle the last outcomes")

    async def _close_loops(self) -> None:
        self._cancel_loops()
        await asyncio.wait(self._loops)
        await self._services.heartbeat.aclose()

    def _cancel_loops(self) -> None:
        self._services.settler.close()
        self._services.parking.close()
        self._services.backlogs.close()
        for loop in self._loops:
            loop.end()

    async def _never_arrived(self) -> "list[Delivery]":
        """Return what Redis has sent to this worker that never arrived."""
        held = self._services.holdings.keys()  # before Redis is asked: see Reader._read_unheld
        try:
            own = await self._services.deliveries.read_all_own(self.name, held)
        except AioStreamQError as error:
            logger.warning("could not look for deliveries that never arrived: %s", error)
            return []
        return [delivery for delivery in own if (delivery.stream, delivery.entry) not in held]

    async def _hand_back(self, deliveries: "list[Delivery]") -> None:
        if deliveries:
            logger.info("handing %s back", counted(len(deliveries), "job"))
            await self._within_reason(
                self._services.deliveries.requeue(deliveries), "hand jobs back"
            )

    async def _leave(self) -> None:
        await self._within_reason(self._services.registry.deregister(self.name), "leave")

    async def _within_reason(self, step: "Awaitable[object]", what: str) -> None:
        """Take a step of the end. A Redis that is away does not keep the process alive."""
        try:
            async with asyncio.timeout(LAST_REQUESTS):
                await step
        except (TimeoutError, AioStreamQError) as error:
            logger.error(  # noqa: TRY400  # the traceback would add nothing
                "could not %s (%s): other workers will take over after the lease", what, error
            )


def _log_failure(reading: "asyncio.Task[Any]") -> None:
    if not reading.cancelled() and (error := reading.exception()) is not None:
        logger.critical("the reader has failed, and the worker ends: %s", error, exc_info=error)
